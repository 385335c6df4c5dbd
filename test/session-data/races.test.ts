import { randomBytes } from 'node:crypto'
import type { LightMyRequestResponse as Response } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { InvalidTokenError } from '../../src/shared/errors.js'
import type { Principal } from '../../src/tokens/principal.js'
import { sessionDataHash } from '../../src/tokens/token.js'
import { becomesTrue, patienceMs, serverGround, skipMissing, startApp, type TestApp } from '../fixtures/app.js'
import { createDeath } from '../fixtures/death.js'
import { createGate } from '../fixtures/gate.js'
import { holdUser } from '../fixtures/locks.js'
import { hasRedisServer, startRedis } from '../fixtures/servers.js'

/** Two instances on one PostgreSQL and their own redis-server. Every interleaving is forced. */

const url = '/v1/session/data'
const get = (one: TestApp, token: string) => one.call('GET', url, { token })
const put = (one: TestApp, token: string, body: object, headers: Record<string, string> = {}) => one.call('PUT', url, { token, body, headers })
const patch = (one: TestApp, token: string, body: object, headers: Record<string, string> = {}) =>
  one.call('PATCH', url, { token, body, headers })
const dataOf = (reply: Response) => reply.json<{ data: Record<string, unknown> }>().data

t.test('on two instances', async t => {
  if (!hasRedisServer) return skipMissing(t, 'needs a redis-server binary: install Redis 7 or later')
  let server = await startRedis()
  t.teardown(() => server.kill())
  const ground = await serverGround(t, { redisUrl: server.url })
  if (ground === null) return
  const redis = new Redis(server.url)
  redis.on('error', () => {})
  t.teardown(() => redis.disconnect())
  const keyOf = (sessionId: string) => `${ground.prefix}token:${sessionDataHash(sessionId).hex()}`
  const gate = createGate()
  const death = createDeath()
  const env = { SESSION_DATA_LIMIT: '0' }
  const [one, two] = await Promise.all([
    startApp(t, ground, { env, settle: death.settle }), startApp(t, ground, { env, backend: gate.backend })
  ])

  /** Reads on both until each has answered from the cache, token and data. */
  async function cacheOnBoth (t: Test, token: string): Promise<void> {
    for (const app of [one, two]) {
      const hit = async () => {
        const { hits } = app.counters
        await get(app, token)
        return app.counters.hits >= hits + 2
      }
      t.ok(await becomesTrue(hit, patienceMs), 'from the cache')
    }
  }

  async function storedOf (sessionId: string): Promise<string | undefined> {
    const [row] = await one.database.prepared<{ data: string }>('select data from session_data where session_id = $1', [sessionId])
    return row?.data
  }

  async function readOnBoth (t: Test, token: string, expected: object, what: string): Promise<void> {
    const replies = await Promise.all([one, two, one, two].map(app => get(app, token)))
    t.strictSame(replies.map(reply => [reply.statusCode, reply.json()]), Array(4).fill([200, { data: expected }]), what)
  }

  t.test('what one has written both read, at once, although both have cached what was there', async t => {
    const { token } = await one.account()
    for (let n = 0; n < 5; n++) {
      const [writer] = n % 2 === 0 ? [one] : [two]
      t.equal((await (n < 3 ? put : patch)(writer as TestApp, token, { n })).statusCode, 200)
      await readOnBoth(t, token, { n }, `write ${n}`)
      await cacheOnBoth(t, token)
    }
  })

  t.test('a reader that was slow to fill the cache does not bring back what was there before', async t => {
    const { token, sessionId } = await one.account()
    await put(one, token, { n: 1 })
    t.ok(await two.cached(token))
    await redis.del(keyOf(sessionId))
    const { open, written, early } = await gate.hold(() => get(two, token))
    t.strictSame(dataOf(await early), { n: 1 })
    t.equal((await put(one, token, { n: 2 })).statusCode, 200)
    open()
    t.equal(await written, false, 'its lease is gone')
    await readOnBoth(t, token, { n: 2 }, 'what was written since')
  })

  t.test('V15.4.2 of forty patches at once on two instances none is lost', async t => {
    const { token } = await one.account()
    const names = Array.from({ length: 40 }, (_, i) => `m${i}`)
    const replies = await Promise.all(names.map((name, i) => patch(i % 2 === 0 ? one : two, token, { all: { [name]: i } })))
    t.strictSame([...new Set(replies.map(reply => reply.statusCode))], [200])
    t.equal(new Set(replies.map(reply => reply.headers.etag)).size, 40)
    await readOnBoth(t, token, { all: Object.fromEntries(names.map((name, i) => [name, i])) }, 'all of them')
  })

  t.test('two patches that wait for each other both count, whichever comes first', async t => {
    const { token, userId } = await one.account()
    await put(one, token, { kept: 1 })
    const row = await holdUser(t, ground, userId)
    const first = patch(one, token, { a: 1 })
    await row.waiters(1)
    const second = patch(two, token, { b: 2 })
    await row.waiters(2)
    await row.release()
    t.strictSame((await Promise.all([first, second])).map(reply => reply.statusCode), [200, 200])
    await readOnBoth(t, token, { kept: 1, a: 1, b: 2 }, 'both')
  })

  t.test('of two writes with one If-Match exactly one is done, and the other says so', async t => {
    const { token, userId } = await one.account()
    const tag = String((await put(one, token, { n: 0 })).headers.etag)
    const row = await holdUser(t, ground, userId)
    const first = put(one, token, { n: 1 }, { 'if-match': tag })
    await row.waiters(1)
    const second = patch(two, token, { n: 2 }, { 'if-match': tag })
    await row.waiters(2)
    await row.release()
    t.strictSame((await Promise.all([first, second])).map(reply => reply.statusCode), [200, 412])
    await readOnBoth(t, token, { n: 1 }, 'the one that was done')
  })

  t.test('a write that a logout overtakes is refused, and leaves nothing', async t => {
    const { token, userId, sessionId } = await one.account()
    await put(one, token, { n: 1 })
    const row = await holdUser(t, ground, userId)
    const logout = one.logout(token)
    await row.waiters(1)
    const late = put(two, token, { n: 2 })
    await row.waiters(2)
    await row.release()
    t.strictSame((await Promise.all([logout, late])).map(reply => reply.statusCode), [204, 401])
    t.equal(await storedOf(sessionId), '{}')
  })

  t.test('a write that overtakes a logout is gone with the session', async t => {
    const { token, userId, sessionId } = await one.account()
    const row = await holdUser(t, ground, userId)
    const write = put(two, token, { n: 2 })
    await row.waiters(1)
    const logout = one.logout(token)
    await row.waiters(2)
    await row.release()
    t.strictSame((await Promise.all([write, logout])).map(reply => reply.statusCode), [200, 204])
    t.equal(await storedOf(sessionId), '{}')
  })

  t.test('a writer that died before the cache knew is settled by its repetition', async t => {
    const { token } = await one.account()
    await put(one, token, { n: 1 })
    await cacheOnBoth(t, token)
    death.comes()
    t.equal((await put(one, token, { n: 2 })).statusCode, 503)
    await one.database.prepared('delete from cache_settlements', [])
    t.equal((await put(two, token, { n: 2 })).statusCode, 200)
    await readOnBoth(t, token, { n: 2 }, 'after the repetition')
  })

  t.test('a writer that died before the cache knew does not leave others with what they cannot replace', async t => {
    const { token } = await one.account()
    const tag = String((await put(one, token, { n: 1 })).headers.etag)
    await cacheOnBoth(t, token)
    death.comes()
    t.equal((await put(one, token, { n: 2 })).statusCode, 503)
    await one.database.prepared('delete from cache_settlements', [])
    t.equal((await put(two, token, { n: 3 }, { 'if-match': tag })).statusCode, 412)
    await readOnBoth(t, token, { n: 2 }, 'what was in the way')
  })

  t.test('without a repetition the other instance settles it', async t => {
    const { token } = await one.account()
    await put(one, token, { n: 1 })
    await cacheOnBoth(t, token)
    death.comes()
    t.equal((await patch(one, token, { n: 2 })).statusCode, 503)
    const isRead = async () => (await Promise.all([one, two].map(async app => dataOf(await get(app, token)).n))).join() === '2,2'
    t.ok(await becomesTrue(isRead, patienceMs))
  })

  t.test('a logout that died before the cache knew leaves nothing to read after its repetition, for whoever holds the principal', async t => {
    const registered = (await one.register(undefined, { refresh: true })).json<{ accessToken: string, refreshToken: string }>()
    const { accessToken: token, refreshToken } = registered
    await put(one, token, { n: 1 })
    await cacheOnBoth(t, token)
    const principal = await two.tokens.authenticate(token) as Principal
    death.comes()
    t.equal((await one.call('POST', '/v1/logout', { body: { refreshToken } })).statusCode, 503)
    await one.database.prepared('delete from cache_settlements', [])
    t.equal((await two.call('POST', '/v1/logout', { body: { refreshToken } })).statusCode, 204)
    for (const app of [one, two]) await t.rejects(app.sessionData.read(principal), InvalidTokenError)
  })

  for (const [what, poison] of [
    ['garbage', (_: string) => randomBytes(64)],
    ['an empty string', () => ''],
    ['no JSON', (generation: string) => `V${generation}|{`],
    ['null', (generation: string) => `V${generation}|null`],
    ['a principal', (generation: string) => `V${generation}|${JSON.stringify({ expiresAtMs: 9e15, token: {}, session: null, user: {} })}`],
    ['a version that is no UUID', (generation: string) => entry(generation, { version: 'x\r\nx-injected: 1' })],
    ['a text that is no object', (generation: string) => entry(generation, { text: '[1]' })],
    ['a text that is no JSON', (generation: string) => entry(generation, { text: '{"a":1}}' })],
    ['a text that nests too deep', (generation: string) => entry(generation, { text: `{"a":${'['.repeat(50_000)}${']'.repeat(50_000)}}` })],
    ['an entry that is over', (generation: string) => entry(generation, { expiresAtMs: 1 })],
    ['an entry of a far generation', () => entry('9007199254740991', {})]
  ] as Array<[string, (generation: string) => string | Buffer]>) {
    t.test(`the database answers where Redis holds ${what}`, async t => {
      const { token, sessionId } = await one.account()
      await put(one, token, { n: 1 })
      const [row] = await one.database.prepared<{ generation: string }>('select generation::text from cache_epoch', [])
      for (const app of [one, two]) {
        await redis.set(keyOf(sessionId), poison(row?.generation ?? ''))
        const reply = await get(app, token)
        t.strictSame([reply.statusCode, reply.json(), reply.headers['x-injected']], [200, { data: { n: 1 } }, undefined])
      }
      t.equal((await put(two, token, { n: 2 })).statusCode, 200)
      await readOnBoth(t, token, { n: 2 }, 'and it can be written')
    })
  }

  for (const how of ['killed', 'frozen'] as const) {
    t.test(`with redis-server ${how} between, both read what was written`, async t => {
      const { token } = await one.account()
      await put(one, token, { n: 1 })
      await cacheOnBoth(t, token)
      if (how === 'killed') await server.kill()
      else process.kill(server.pid, 'SIGSTOP')
      const startedAt = performance.now()
      t.equal((await put(one, token, { n: 2 })).statusCode, 200)
      t.comment(`written in ${Math.round(performance.now() - startedAt)} ms`)
      await readOnBoth(t, token, { n: 2 }, 'without Redis')
      t.equal((await patch(two, token, { m: 1 })).statusCode, 200)
      await readOnBoth(t, token, { n: 2, m: 1 }, 'without Redis')
      if (how === 'killed') server = await startRedis({ port: server.port })
      else process.kill(server.pid, 'SIGCONT')
      await readOnBoth(t, token, { n: 2, m: 1 }, 'as Redis comes back')
      t.ok(await becomesTrue(() => [one, two].every(app => app.epoch.state() === 'trusted'), patienceMs), 'the cache is trusted again')
      await cacheOnBoth(t, token)
      await readOnBoth(t, token, { n: 2, m: 1 }, 'from the cache')
    })
  }
})

/** A whole entry, with parts exchanged. */
function entry (generation: string, parts: object): string {
  const whole = { expiresAtMs: Date.now() + 3_600_000, version: '6f1f7b0a-0000-4000-8000-000000000000', text: '{"n":0}' }
  return `V${generation}|${JSON.stringify({ ...whole, ...parts })}`
}
