import { operator } from '../admin/service.js'
import { type Command, requireAccount, textOf } from './command.js'

export const revokeTokens: Command = {
  help: `Usage: npm run tokens:revoke -- --email ADDRESS | --all [--yes] [--json]

Ends every session and every token, personal ones too, of one account or of all. Once it is done no instance accepts one of them.
  --email ADDRESS  of the account
  --all            everybody's
  --yes            don't ask
  --json           print what was ended as JSON`,
  options: { email: { type: 'string' }, all: { type: 'boolean' } },
  check: values => (textOf(values, 'email') === undefined) === (values.all !== true) ? 'Say whose: --email ADDRESS, or --all.' : null,
  question: values => values.all === true ? 'End every session and token of everybody?' : `End every session and token of ${textOf(values, 'email')}?`,
  async run (parts, values) {
    if (values.all === true) {
      const ended = await parts.admin.revokeEveryone(operator)
      return { json: ended, text: `Ended ${ended.sessions} sessions and ${ended.personalTokens} personal tokens of ${ended.users} users.` }
    }
    const user = await requireAccount(parts, values)
    await parts.admin.revoke(operator, user.id, { personalTokens: true })
    return { json: { userId: user.id }, text: `Ended every session and token of ${user.email}.` }
  }
}
