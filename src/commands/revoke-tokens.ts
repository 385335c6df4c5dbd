import { operator } from '../admin/service.js'
import { type Command, requireAccount, textOf } from './command.js'

export const revokeTokens: Command = {
  help: `Usage: npm run tokens:revoke -- --email ADDRESS | --all [--services] [--yes] [--json]

Ends every session and every token, personal ones too, of one account or of all. Once it is done no instance accepts one of them.
  --email ADDRESS  of the account
  --all            everybody's
  --services       with --all: those of other services, too, which then need new ones
  --yes            don't ask
  --json           print what was ended as JSON`,
  options: { email: { type: 'string' }, all: { type: 'boolean' }, services: { type: 'boolean' } },
  check: values => {
    if ((textOf(values, 'email') === undefined) === (values.all !== true)) return 'Say whose: --email ADDRESS, or --all.'
    return values.services === true && values.all !== true ? 'A service belongs to no account: --services goes with --all.' : null
  },
  question: values => values.all === true ? `End every session and token of everybody${values.services === true ? ', and of every service' : ''}?` : `End every session and token of ${textOf(values, 'email')}?`,
  async run (parts, values) {
    if (values.all === true) {
      const ended = await parts.admin.revokeEveryone(operator, { services: values.services === true })
      const services = values.services === true ? `, and the tokens of ${ended.services} services` : ''
      return { json: ended, text: `Ended ${ended.sessions} sessions and ${ended.personalTokens} personal tokens of ${ended.users} users${services}.` }
    }
    const user = await requireAccount(parts, values)
    await parts.admin.revoke(operator, user.id, { personalTokens: true })
    return { json: { userId: user.id }, text: `Ended every session and token of ${user.email}.` }
  }
}
