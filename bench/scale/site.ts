import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { createPostgres } from '../../src/database/postgres.js'
import { createLastUseStore } from '../../src/tokens/last-use-store.js'
import type { RedisServer } from '../../test/fixtures/servers.js'
import { createClient, eachOf } from '../client.js'
import { createSeeder, password, startLatchkey } from '../latchkey.js'
import type { Machinery } from '../machinery.js'
import { median, quantile } from '../statistics.js'
import { fill } from './fill.js'

/** Samples of each kind per round. */
export const samples = { misses: 200, logins: 40, logouts: 60, flushed: 500 }

export type Work = 'GET /v1/me, a miss' | 'POST /v1/login' | 'POST /v1/logout' | 'GET /v1/sessions' | 'flush of 500 last uses'

/** A Latchkey server on a database with `rows` tokens. */
export type Site = Awaited<ReturnType<typeof openSite>>

export async function openSite (machinery: Machinery, redis: RedisServer, rows: number, rounds: number) {
  const databaseUrl = await machinery.database()
  // bcrypt costs the same at every size and would hide the rest.
  const { sql, mint, passwordHash } = await createSeeder(machinery, databaseUrl, 4)
  const startedAt = performance.now()
  const single = await sql.reserve()
  const picked = await fill(
    single as unknown as typeof sql,
    { rows, picked: samples.flushed + rounds * (samples.logins + samples.logouts), mint, passwordHash }
  )
  single.release()
  const filledInMs = performance.now() - startedAt
  const keyPrefix = `lk${rows}:`
  const { base } = await startLatchkey(
    machinery,
    { databaseUrl, redisUrl: redis.url, core: machinery.cores.server, env: { BCRYPT_COST: '4', REDIS_KEY_PREFIX: keyPrefix } }
  )
  const client = createClient(base, 16)
  const database = createPostgres(databaseUrl, 1)
  const lastUses = createLastUseStore(database)
  const cache = new Redis(redis.url)
  machinery.atEnd(async () => {
    client.close()
    cache.disconnect()
    await database.close()
  })
  const readers = picked.splice(0, samples.flushed)

  async function timesOf <T> (items: readonly T[], work: (item: T) => Promise<{ ms: number }>): Promise<number> {
    const times: number[] = []
    for (const item of items) times.push((await work(item)).ms)
    return median(times)
  }

  return {
    rows,
    filledInMs,
    sql,

    /** Medians in milliseconds, one request after another. */
    async measure (): Promise<Map<Work, number>> {
      const [
        some,
        people,
        leaving
      ] = [readers.slice(0, samples.misses), picked.splice(0, samples.logins), picked.splice(0, samples.logouts)]
      await cache.flushdb()
      const misses = await timesOf(some, ({ token }) => client.expect(200, 'GET', '/v1/me', { token }))
      const lists = await timesOf(some, ({ token }) => client.expect(200, 'GET', '/v1/sessions', { token }))
      const logins = await timesOf(people, ({ email }) => client.expect(200, 'POST', '/v1/login', { body: { email, password } }))
      for (const { token } of leaving) await client.expect(200, 'GET', '/v1/me', { token })
      const logouts = await timesOf(leaving, ({ token }) => client.expect(204, 'POST', '/v1/logout', { token }))
      const flushes = await timesOf([1, 2, 3, 4, 5], async later => {
        const from = performance.now()
        await lastUses.touch('sessions', new Map(readers.map(({ sessionId }) => [sessionId, Date.now() + later * 2_000])))
        return { ms: performance.now() - from }
      })
      return new Map<Work, number>([
        ['GET /v1/me, a miss', misses],
        ['POST /v1/login', logins],
        ['POST /v1/logout', logouts],
        ['GET /v1/sessions', lists],
        ['flush of 500 last uses', flushes]
      ])
    },

    /** p99 of live requests before and during a prune, and the number of rows deleted. */
    async prune (calmSeconds: number): Promise<{ before: number, during: number, rows: number, ms: number }> {
      const child = machinery.start(
        null,
        [fileURLToPath(new URL('prune.mjs', import.meta.url))],
        { DATABASE_URL: databaseUrl, LOG_LEVEL: 'warn' }
      )
      await child.message()
      const before = await live(delay(calmSeconds * 1_000))
      child.process.send('prune')
      const pruned = child.message<{ tokens: number, sessions: number, ms: number }>()
      const during = await live(pruned)
      const { tokens, sessions, ms } = await pruned
      return { before, during, rows: tokens + sessions, ms }
    },

    /** Bytes of a cached token in Redis, its key included. */
    async bytesInRedis (): Promise<number> {
      await eachOf(readers.slice(0, 100), 8, async ({ token }) => { await client.expect(200, 'GET', '/v1/me', { token }) })
      await delay(100)
      const keys = (await cache.keys(`${keyPrefix}token:*`)).slice(0, 100)
      return median(await Promise.all(keys.map(async key => Number(await cache.memory('USAGE', key, 'SAMPLES', 0)))))
    }
  }

  /** Reads, lists and logins on eight connections until `end`; the cache is flushed all the time, so that the database answers. */
  async function live (end: Promise<unknown>): Promise<number> {
    let over = false
    end.finally(() => { over = true }).catch(() => {})
    const times: number[] = []
    const loop = async (from: number) => {
      for (let i = from; !over; i += 8) {
        const { token, email } = readers[i % readers.length] as typeof readers[0]
        const answer = i % 64 === 7
          ? await client.expect(
            200,
            'POST',
            '/v1/login',
            { body: { email: email.replace(/\d+/, number => String((Number(number) + i) % Math.floor(rows / 4))), password } }
          ).catch(() =>
            ({ ms: 0 }))
          : await client.call('GET', i % 8 === 3 ? '/v1/sessions' : '/v1/me', { token })
        if (answer.ms > 0) times.push(answer.ms)
      }
    }
    const emptying = (async () => { for (; !over; await delay(50)) await cache.flushdb() })()
    await Promise.all([emptying, ...Array.from({ length: 8 }, (_each, i) => loop(i))])
    return quantile(times, 0.99)
  }
}
