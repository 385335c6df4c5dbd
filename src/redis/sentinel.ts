import { Redis } from 'ioredis'
import type { RedisConfig } from '../config/redis.js'
import { explainRefusal } from './check.js'
import { sentinelOptions } from './client.js'

/**
 * Asks each Sentinel once for the master, within `withinMs`. Returns what an operator has to correct, or null: ioredis itself reports all
 * such failures as a Sentinel that cannot be reached.
 */
export async function askSentinels (
  config: RedisConfig & { mode: 'sentinel' },
  ca: string | undefined,
  withinMs: number
): Promise<string | null> {
  const answers = await Promise.all(config.sentinels.map(async ({ host, port }) => {
    const where = `${host}:${port} (a Sentinel)`
    const timeouts = { connectTimeout: withinMs, commandTimeout: withinMs }
    const client = new Redis({ ...sentinelOptions(config, host, ca), host, port, lazyConnect: true, ...timeouts })
    let reported: unknown = null
    client.on('error', error => { reported ??= error })
    try {
      await client.connect()
      const address = await client.call('SENTINEL', 'get-master-addr-by-name', config.name)
      return address === null ? `Redis at ${where} watches no master named ${config.name}: correct the host of REDIS_URL` : 'known'
    } catch (error) {
      return explainRefusal(reported, where, 'REDIS_SENTINELS') ?? explainRefusal(error, where, 'REDIS_SENTINELS')
    } finally {
      client.disconnect()
    }
  }))
  return answers.find(answer => answer !== null && answer !== 'known') ?? null
}
