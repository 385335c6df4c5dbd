import { operator } from '../admin/service.js'
import { defineCommand, emailOption, requireAccount } from './command.js'

export const enableUser = defineCommand({
  summary: 'Enables an account again, and forgets its failed logins.',
  details: 'Its personal tokens work again; sessions that ended stay ended.',
  options: { email: emailOption },
  async run (services, { values }) {
    const user = await requireAccount(services, values.email)
    await services.admin.enable(operator, user.id)
    return { json: { userId: user.id }, text: `Enabled the account of ${user.email}.` }
  }
})
