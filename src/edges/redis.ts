import { Redis } from 'ioredis'
import { describe } from '../errors.js'

/** The longest a request waits for Redis. */
export const commandTimeoutMs = 100

/** How much is in the server that `client` talks to: keys of its logical database, bytes of the whole of it. Rejects where it doesn't answer. */
export async function measureRedis (client: Redis): Promise<{ keys: number, memoryBytes: number | null }> {
  const [keys, info] = await Promise.all([client.dbsize(), client.info('memory')])
  const [, bytes] = /^used_memory:(\d+)/m.exec(info) ?? []
  return { keys, memoryBytes: bytes === undefined ? null : Number(bytes) }
}

/** A server that hasn't said a word for so long, not even to the poll, is dialled again: its host may be gone without a trace. */
const silenceMs = 2_000

/**
 * A client that fails fast. Each default of ioredis it turns off would break the revocation protocol: a queued or resent write arrives
 * after the world has moved on. It is dialled in the background: Redis is never waited for.
 */
export function createRedis (url: string, log: { warn (fields: object, text: string): void }): Redis {
  const client = new Redis(url, {
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: commandTimeoutMs,
    enableAutoPipelining: true,
    connectTimeout: 1_000,
    socketTimeout: silenceMs,
    disconnectTimeout: 100,
    connectionName: 'latchkey',
    retryStrategy: attempts => Math.min(25 * 2 ** attempts, 500)
  })
  let told = false
  client.on('ready', () => { told = false })
  client.on('error', error => {
    if (!told) log.warn({ cause: describe(error) }, 'Redis cannot be reached: answering from the database')
    told = true
  })
  return client
}
