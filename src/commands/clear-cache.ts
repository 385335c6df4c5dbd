import { operator } from '../admin/service.js'
import { defineCommand } from './command.js'

export const clearCache = defineCommand({
  summary: 'Makes every cache entry void, on every instance.',
  details: 'For when the cache itself is in doubt. No session or token ends, and the cache fills again.',
  options: {},
  async run ({ admin }) {
    await admin.clearCache(operator)
    return { json: { cleared: true }, text: 'Every cache entry is void.' }
  }
})
