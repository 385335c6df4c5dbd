import { operator } from '../admin/service.js'
import { defineCommand, requireAccount } from './command.js'

export const revokeTokens = defineCommand({
  summary: 'Ends every session and token of one account, or of all accounts.',
  details: 'Personal tokens end too. Once it is done no instance accepts any of them.',
  usage: '--email ADDRESS | --all [--services]',
  options: {
    email: { type: 'string', value: 'ADDRESS', help: 'the address of the account' },
    all: { type: 'boolean', help: 'all accounts' },
    services: { type: 'boolean', help: 'with --all: the tokens of services too, which then need new ones' }
  },
  check ({ email, all, services }) {
    if ((email === undefined) !== all) return 'Say whose: --email ADDRESS, or --all.'
    return services && !all ? 'A service belongs to no account: --services goes with --all.' : null
  },
  question: ({ email, all, services }) => all
    ? `End every session and token of everybody${services ? ', and of every service' : ''}?`
    : `End every session and token of ${email}?`,
  async run (parts, { values: { email = '', all, services } }) {
    if (all) {
      const ended = await parts.admin.revokeEveryone(operator, { services })
      const also = services ? `, and the tokens of ${ended.services} services` : ''
      return {
        json: ended,
        text: `Ended ${ended.sessions} sessions and ${ended.personalTokens} personal tokens of ${ended.users} users${also}.`
      }
    }
    const user = await requireAccount(parts, email)
    await parts.admin.revoke(operator, user.id, { personalTokens: true })
    return { json: { userId: user.id }, text: `Ended every session and token of ${user.email}.` }
  }
})
