import { Redis } from 'ioredis'
import type { RedisConfig } from '../config/redis.js'
import { explainRefusal } from './check.js'
import { sentinelOptions } from './client.js'

/**
 * Asks each of the Sentinels for the master, once, within `withinMs`: what an operator has to do before any of them can help, or null.
 * A client that follows them doesn't tell: to it every failure is a Sentinel that can't be reached.
 */
export async function askSentinels (config: RedisConfig & { mode: 'sentinel' }, ca: string | undefined, withinMs: number): Promise<string | null> {
  const answers = await Promise.all(config.sentinels.map(async ({ host, port }) => {
    const where = `${host}:${port} (a Sentinel)`
    const client = new Redis({ ...sentinelOptions(config, host, ca), host, port, lazyConnect: true, connectTimeout: withinMs, commandTimeout: withinMs })
    let heard: unknown = null
    client.on('error', error => { heard ??= error })
    try {
      await client.connect()
      const address = await client.call('SENTINEL', 'get-master-addr-by-name', config.name)
      return address === null ? `Redis at ${where} watches no master named ${config.name}: correct the host of REDIS_URL` : 'known'
    } catch (error) {
      return explainRefusal(heard, where, 'REDIS_SENTINELS') ?? explainRefusal(error, where, 'REDIS_SENTINELS')
    } finally {
      client.disconnect()
    }
  }))
  return answers.find(answer => answer !== null && answer !== 'known') ?? null
}
