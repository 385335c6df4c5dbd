import { operator } from '../admin/service.js'
import { type Command, requireAccount, textOf } from './command.js'

export const deleteUser: Command = {
  help: `Usage: npm run users:delete -- --email ADDRESS [--yes] [--json]

Deletes an account and everything of it: sessions, tokens, personal ones too, and its audit trail. Every token ends first, on every instance.
  --email ADDRESS  of the account; the last administrator stays
  --yes            don't ask
  --json           print the id of the account as JSON`,
  options: { email: { type: 'string' } },
  check: values => textOf(values, 'email') === undefined ? '--email takes the address of the account.' : null,
  question: values => `Delete the account of ${textOf(values, 'email')}, and everything of it?`,
  async run (parts, values) {
    const user = await requireAccount(parts, values)
    await parts.admin.remove(operator, user.id)
    return { json: { userId: user.id }, text: `Deleted the account of ${user.email}.` }
  }
}
