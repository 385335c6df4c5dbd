import { operator } from '../admin/service.js'
import { type Command, requireAccount, textOf } from './command.js'

export const promoteUser: Command = {
  help: `Usage: npm run users:promote -- --email ADDRESS [--role admin|user] [--json]

Gives an account a role, admin where none is said. It counts from the account's next request on, on every instance.
  --email ADDRESS  of the account
  --role ROLE      admin or user; the last administrator stays one
  --json           print the account as JSON`,
  options: { email: { type: 'string' }, role: { type: 'string' } },
  check (values) {
    if (textOf(values, 'email') === undefined) return '--email takes the address of the account.'
    return ['admin', 'user', undefined].includes(textOf(values, 'role')) ? null : '--role is admin or user.'
  },
  async run (parts, values) {
    const user = await requireAccount(parts, values)
    const role = textOf(values, 'role') === 'user' ? 'user' as const : 'admin' as const
    await parts.admin.setRole(operator, user.id, role)
    return { json: { user: { ...user, role } }, text: `${user.email} has the role ${role} now.` }
  }
}
