import { operator } from '../admin/service.js'
import { defineCommand, emailOption, requireAccount } from './command.js'

export const promoteUser = defineCommand({
  summary: 'Makes an account an administrator, or an ordinary user again.',
  details: "It counts from the account's next request on, on every instance. The last administrator stays one.",
  options: {
    email: emailOption,
    role: {
      type: 'string',
      value: 'ROLE',
      help: 'admin (the default) or user',
      check: role => ['admin', 'user'].includes(role) ? null : 'takes admin or user'
    }
  },
  async run (services, { values }) {
    const user = await requireAccount(services, values.email)
    const role = values.role === 'user' ? 'user' as const : 'admin' as const
    await services.admin.setRole(operator, user.id, role)
    return { json: { user: { ...user, role } }, text: `${user.email} has the role ${role} now.` }
  }
})
