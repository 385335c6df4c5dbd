import { operator } from '../admin/service.js'
import { defineCommand, emailOption, requireAccount } from './command.js'

export const disableUser = defineCommand({
  summary: 'Disables an account: its sessions end, and nobody can log in.',
  details: 'Its personal tokens are refused until users:enable. The last administrator can\'t be disabled.',
  options: { email: emailOption },
  async run (services, { values }) {
    const user = await requireAccount(services, values.email)
    await services.admin.disable(operator, user.id)
    return { json: { userId: user.id }, text: `Disabled the account of ${user.email}.` }
  }
})
