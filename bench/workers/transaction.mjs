// A logout's transaction alone: the session service's own, without HTTP and without settling. Takes principals, reports the times.
import { loadConfig } from '../../dist/src/config.js'
import { createPostgres } from '../../dist/src/edges/postgres.js'
import { createLogger } from '../../dist/src/logger.js'
import { createServices } from '../../dist/src/services.js'

const config = loadConfig()
const database = createPostgres(config.databaseUrl, config.databasePool)
const { sessions } = await createServices(config, { database, redis: null, logger: createLogger('silent'), settle: real => ({ ...real, settle: async () => {} }) })

process.send('ready')
process.on('message', async callers => {
  const times = []
  for (const { userId, sessionId, tokenId } of callers) {
    const startedAt = performance.now()
    await sessions.logOut({ user: { id: userId }, session: { id: sessionId }, token: { id: tokenId } }, { address: '127.0.0.1', userAgent: 'bench' })
    times.push(performance.now() - startedAt)
  }
  process.send(times)
})
process.once('SIGTERM', () => process.exit(0))
