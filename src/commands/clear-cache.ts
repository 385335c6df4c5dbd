import { operator } from '../admin/service.js'
import type { Command } from './command.js'

export const clearCache: Command = {
  help: `Usage: npm run cache:clear -- [--json]

Makes every cache entry void, on every instance; nothing is ended, and entries are filled anew. For when the cache itself is in doubt.
  --json  print the outcome as JSON`,
  options: {},
  async run ({ admin }) {
    await admin.clearCache(operator)
    return { json: { cleared: true }, text: 'Every cache entry is void.' }
  }
}
