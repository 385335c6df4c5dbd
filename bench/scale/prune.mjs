// Prunes on the parent's message and reports how many rows it deleted and how long that took.
import { loadConfig } from '../../dist/src/config.js'
import { createPostgres } from '../../dist/src/edges/postgres.js'
import { createLogger } from '../../dist/src/logger.js'
import { createServices } from '../../dist/src/services.js'

const config = loadConfig()
const database = createPostgres(config.databaseUrl, 2)
const { prune } = await createServices(config, { database, redis: null, logger: createLogger('warn') })

process.send('ready')
process.on('message', async () => {
  const startedAt = performance.now()
  const { tokens, sessions } = await prune({ dryRun: false })
  process.send({ tokens, sessions, ms: performance.now() - startedAt })
})
process.once('SIGTERM', () => process.exit(0))
