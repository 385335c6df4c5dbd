import { operator } from '../admin/service.js'
import { defineCommand, emailOption, requireAccount } from './command.js'

export const deleteUser = defineCommand({
  summary: 'Deletes an account with its sessions, tokens and audit trail.',
  details: 'Every token ends first, on every instance. The last administrator can\'t be deleted.',
  options: { email: emailOption },
  question: ({ email }) => `Delete the account of ${email}, with everything that belongs to it?`,
  async run (services, { values }) {
    const user = await requireAccount(services, values.email)
    await services.admin.remove(operator, user.id)
    return { json: { userId: user.id }, text: `Deleted the account of ${user.email}.` }
  }
})
