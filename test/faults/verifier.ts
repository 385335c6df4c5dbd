import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createVerifier, UnavailableError } from '../../src/verifier/index.js'

/** A process of the fault run that only checks tokens, by `latchkey/verifier`. It answers what the run asks an API about a token. */

const { DATABASE_URL: databaseUrl = '', DATABASE_POOL: databasePool, REDIS_URL, REDIS_SENTINELS, REDIS_KEY_PREFIX } = process.env
const verifier = createVerifier({
  databaseUrl,
  databasePool,
  redisUrl: REDIS_URL,
  redisSentinels: REDIS_SENTINELS,
  redisKeyPrefix: REDIS_KEY_PREFIX,
  log: {
    info () {},
    warn (fields, text) { process.stderr.write(`${text} ${JSON.stringify(fields)}\n`) }
  }
})

const server = createServer(async (request, response) => {
  const answer = (status: number, body: object) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  if (request.url === '/health/ready') {
    const stats = verifier.stats()
    return answer(200, { cache: { trusted: stats.cache === 'trusted' }, stats })
  }
  try {
    const principal = await verifier.verify(request)
    answer(principal === null ? 401 : 200, {})
  } catch (error) {
    answer(error instanceof UnavailableError ? 503 : 500, { error: String(error) })
  }
})

process.on('disconnect', () => process.exit(1))
process.on('SIGTERM', () => process.exit(0))
// Where something is down, it goes on trying, and answers 503 meanwhile.
await verifier.ready().catch(() => {})
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }))
