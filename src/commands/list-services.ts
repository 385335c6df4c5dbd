import { everyEntry } from '../shared/pagination.js'
import { defineCommand } from './command.js'

export const listServices = defineCommand({
  summary: 'Lists the services that may check tokens, newest first.',
  options: {},
  async run ({ serviceTokens }) {
    const found = await everyEntry(serviceTokens.list)
    const services = found.map(({ createdAt, lastUsedAt, ...service }) =>
      ({ ...service, createdAt: createdAt.toISOString(), lastUsedAt: lastUsedAt?.toISOString() ?? null }))
    const lines = services.map(({ id, name, createdAt, lastUsedAt }) =>
      `${id}  ${name}  created ${createdAt}, ${lastUsedAt === null ? 'never used' : `last used ${lastUsedAt}`}`)
    return { json: { services }, text: lines.join('\n') || 'There are no services.' }
  }
})
