import { createHash } from 'node:crypto'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { operator } from '../../src/admin/service.js'
import { createSurplusStore } from '../../src/tokens/surplus-store.js'
import { createTestClock, newEmail, onEachGround, serverGround, startApp, type TestApp } from '../fixtures/app.js'
import { createDeath } from '../fixtures/death.js'
import { createBarrier } from '../fixtures/gate.js'
import { hold, holdUser } from '../fixtures/locks.js'
import { refusedAs } from '../fixtures/refused.js'

interface Pair { accessToken: string, refreshToken: string }
interface Opened extends Pair { session: { id: string }, user: { id: string, email: string } }

const most = 10

onEachGround(t, async (t, ground) => {
  const clock = createTestClock()
  const one = await startApp(t, ground, { clock })

  t.test('a session has ten live access tokens at most: the refresh that gives one more ends the oldest, in every cache', async t => {
    const pairs = await refreshTimes(one, await open(one), most - 1)
    const { settlements } = one.counters
    t.equal((await one.me(accessOf(pairs, 0))).statusCode, 200, 'ten are none too many')
    t.ok(await one.cached(accessOf(pairs, 0)))

    const more = await refreshTimes(one, pairs.at(-1) as Pair, 1)
    t.equal(one.counters.settlements, settlements + 1, 'settled, as every revocation is')
    refusedAs(t, await one.me(accessOf(pairs, 0)), 401, 'AUTH_INVALID_TOKEN')
    for (const { accessToken } of [...pairs.slice(1), ...more.slice(1)]) t.equal((await one.me(accessToken)).statusCode, 200)
  })

  t.test('tokens that have expired are no surplus', async t => {
    const early = await refreshTimes(one, await open(one), most - 1)
    clock.advance(16 * 60_000)
    await one.trusted()
    const { settlements } = one.counters
    const late = await refreshTimes(one, early.at(-1) as Pair, most)
    t.equal(one.counters.settlements, settlements)
    for (const { accessToken } of late.slice(1)) t.equal((await one.me(accessToken)).statusCode, 200)
  })

  t.test('a refresh deletes the rows of its session that nothing needs any more, and no others', async t => {
    const opened = await open(one)
    const other = await open(one)
    const row = (name: string, kind: string, expiresAt: string, { revokedAt = 'null', consumedAt = 'null', of = opened } = {}) =>
      one.database.prepared(`insert into tokens (id, hash, kind, user_id, session_id, name, abilities, created_at, expires_at, revoked_at, consumed_at)
        values (gen_random_uuid(), sha256(convert_to($1 || $2, 'UTF8')), $3, $4, $2::uuid, $1, '{*}', now() - interval '10 days', now() + interval '${expiresAt}', ${revokedAt}, ${consumedAt})`,
      [name, of.session.id, kind, of.user.id])
    const ago = (time: string) => `now() - interval '${time}'`
    await row('access, long expired', 'access', '-61 minutes')
    await row('access, just expired', 'access', '-59 minutes')
    await row('access, revoked before any entry', 'access', '1 day', { revokedAt: ago('361 seconds') })
    await row('access, revoked while an entry may live', 'access', '1 day', { revokedAt: ago('300 seconds') })
    await row('refresh, consumed and long expired', 'refresh', '-61 minutes', { consumedAt: ago('8 days') })
    await row('refresh, consumed, not expired', 'refresh', '1 minute', { consumedAt: ago('7 days') })
    await row('refresh, revoked, not expired', 'refresh', '1 minute', { revokedAt: ago('7 days') })
    await row('refresh, never used', 'refresh', '-61 minutes')
    await row('of another session', 'access', '-61 minutes', { of: other })
    await refreshTimes(one, opened, 1)
    const left = await one.database.prepared<{ name: string }>(
      'select name from tokens where session_id = any($1::uuid[]) and name is not null order by name',
      [`{${opened.session.id},${other.session.id}}`]
    )
    t.strictSame(left.map(({ name }) => name), [
      'access, just expired', 'access, revoked while an entry may live', 'of another session',
      'refresh, consumed, not expired', 'refresh, never used', 'refresh, revoked, not expired'
    ])
  })

  t.test('each refresh deletes more rows than it adds, and the reuse of any token that has not expired is noticed', async t => {
    const opened = await open(one)
    await addDead(one, opened, 1_000)
    const rows = async () => (await one.database.prepared('select from tokens where session_id = $1', [opened.session.id])).length
    const before = await rows()
    const pairs = await refreshTimes(one, opened, 3)
    t.equal(await rows(), before - 3 * 200 + 3 * 2)
    clock.advance(31_000)
    await one.trusted()
    refusedAs(t, await refresh(one, opened.refreshToken), 401, 'AUTH_TOKEN_REUSED')
    for (const { accessToken } of pairs) refusedAs(t, await one.me(accessToken), 401, 'AUTH_INVALID_TOKEN')
  })

  t.test('a session is refreshed 120 times a minute at most, however its tokens come, and no other session waits for it', async t => {
    const opened = await open(one)
    const again = (await one.login(opened.user.email, { refresh: true })).json<Opened>()
    for (let i = 0; i < 4; i++) {
      const replies = await Promise.all(Array.from({ length: 30 }, () => refresh(one, again.refreshToken)))
      t.strictSame([...new Set(replies.map(({ statusCode }) => statusCode))], [200])
    }
    refusedAs(t, await refresh(one, again.refreshToken), 429, 'AUTH_RATE_LIMITED')
    const form = await one.app.inject({
      method: 'POST',
      url: '/oauth/token',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      payload: `grant_type=refresh_token&refresh_token=${again.refreshToken}`
    })
    t.match([form.statusCode, form.json()], [429, { error: 'temporarily_unavailable', code: 'AUTH_RATE_LIMITED' }])
    t.equal((await one.me(again.accessToken)).statusCode, 200, 'what it has goes on')
    const other = await open(one)
    t.equal((await refresh(one, other.refreshToken)).statusCode, 200)

    clock.advance(31_000)
    await one.trusted()
    refusedAs(t, await refresh(one, again.refreshToken), 401, 'AUTH_TOKEN_REUSED', 'a stolen token ends its session all the same')
    refusedAs(t, await one.me(again.accessToken), 401, 'AUTH_INVALID_TOKEN')
    refusedAs(t, await refresh(one, again.refreshToken), 429, 'AUTH_RATE_LIMITED', 'once: the next only refuse')
  })
})

t.test('two instances on PostgreSQL and Redis', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const redis = new Redis(ground.redisUrl as string)
  t.teardown(() => redis.disconnect())
  const keyOf = (token: string) => `${ground.prefix}token:${createHash('sha256').update(token).digest('hex')}`
  const clock = createTestClock()
  const death = createDeath()
  const settling = createBarrier()
  const [one, two] = await Promise.all([
    startApp(t, ground, {
      clock,
      settle: real => death.settle({
        ...real,
        async settle (committed) {
          const held = settling.take()
          held?.arrive()
          await held?.opened
          await real.settle(committed)
        }
      })
    }),
    startApp(t, ground, { clock })
  ])

  const dead = async (t: Test, token: string, what: string) => {
    for (const app of [one, two]) refusedAs(t, await app.me(token), 401, 'AUTH_INVALID_TOKEN', what)
  }
  const alive = async (t: Test, token: string, what: string) => {
    for (const app of [one, two]) t.equal((await app.me(token)).statusCode, 200, what)
  }
  /** A session with as many access tokens as it may have, the oldest of them in the cache. */
  const full = async (): Promise<{ opened: Opened, oldest: string, next: string, last: Pair }> => {
    const opened = await open(one)
    const pairs = await refreshTimes(one, opened, most - 1)
    for (const app of [one, two]) t.ok(await app.cached(opened.accessToken))
    return { opened, oldest: opened.accessToken, next: accessOf(pairs, 1), last: pairs.at(-1) as Pair }
  }

  t.test('the oldest token is dead on both once the refresh is answered, whichever instance gave it', async t => {
    const { oldest, next, last } = await full()
    const [, eleventh] = await refreshTimes(two, last, 1)
    t.equal(await redis.get(keyOf(oldest)), 'R')
    await dead(t, oldest, 'ended')
    await alive(t, next, 'the second oldest')
    const [, twelfth] = await refreshTimes(one, eleventh as Pair, 1)
    await dead(t, next, 'ended by the next')
    await alive(t, (twelfth as Pair).accessToken, 'the newest')
  })

  t.test('of two refreshes of one token at once, neither is answered before the oldest token is dead', async t => {
    const { opened, oldest, last } = await full()
    const row = await holdUser(t, ground, opened.user.id)
    const held = settling.close()
    const early = refresh(one, last.refreshToken)
    await row.waiters(1)
    const late = refresh(two, last.refreshToken)
    await row.waiters(2)
    await row.release()
    await held.arrived
    const repeated = await late
    t.equal(repeated.statusCode, 200, repeated.body)
    await dead(t, oldest, 'the repeat has settled what the first is still settling')
    held.open()
    const first = await early
    t.strictSame([first.statusCode, pairOf(first.json())], [200, pairOf(repeated.json())], 'the same pair')
    await alive(t, first.json<Pair>().accessToken, 'which lives')
  })

  t.test('forty refreshes of one token at once end one access token', async t => {
    const { oldest, next, last } = await full()
    const replies = await Promise.all(Array.from({ length: 40 }, (_, i) => refresh(i % 2 === 0 ? one : two, last.refreshToken)))
    t.strictSame([...new Set(replies.map(({ statusCode }) => statusCode))], [200])
    t.equal(new Set(replies.map(reply => JSON.stringify(pairOf(reply.json())))).size, 1)
    await dead(t, oldest, 'ended')
    await alive(t, next, 'one is enough')
  })

  t.test('a refresh whose process died before it reached the cache takes effect once it is repeated', async t => {
    const { oldest, last } = await full()
    death.comes()
    refusedAs(t, await refresh(one, last.refreshToken), 503, 'AUTH_UNAVAILABLE')
    // The other instances would settle it in three seconds.
    await one.database.prepared('delete from cache_settlements', [])
    t.match(await redis.get(keyOf(oldest)), /^V/, 'committed, but the cache does not know of it yet')
    const repeated = await refresh(two, last.refreshToken)
    t.equal(repeated.statusCode, 200, repeated.body)
    t.equal(await redis.get(keyOf(oldest)), 'R')
    await dead(t, oldest, 'named again, although already revoked')
    await alive(t, repeated.json<Pair>().accessToken, 'the successor')
  })

  t.test('a logout and a refresh past the ten take turns, and nothing outlives the logout', async t => {
    for (const order of ['logout first', 'refresh first'] as const) {
      const { opened, oldest, next, last } = await full()
      const row = await holdUser(t, ground, opened.user.id)
      const acts = [() => one.logout(next), () => refresh(two, last.refreshToken)] as const
      const early = acts[order === 'logout first' ? 0 : 1]()
      await row.waiters(1)
      const late = acts[order === 'logout first' ? 1 : 0]()
      await row.waiters(2)
      await row.release()
      const [out, refreshed] = order === 'logout first' ? [await early, await late] : [await late, await early]
      t.strictSame([out.statusCode, refreshed.statusCode], [204, order === 'logout first' ? 401 : 200], order)
      for (const token of [oldest, next, last.accessToken]) await dead(t, token, order)
      if (refreshed.statusCode === 200) await dead(t, refreshed.json<Pair>().accessToken, `${order}: the successor`)
    }
  })

  t.test('the reuse of a token ends a session that has lost access tokens to its own refreshes', async t => {
    const { opened, oldest, last } = await full()
    const [, eleventh] = await refreshTimes(two, last, 1)
    clock.advance(31_000)
    await Promise.all([one.trusted(), two.trusted()])
    refusedAs(t, await refresh(two, opened.refreshToken), 401, 'AUTH_TOKEN_REUSED')
    for (const token of [oldest, last.accessToken, (eleventh as Pair).accessToken]) await dead(t, token, 'over')
    refusedAs(t, await refresh(one, (eleventh as Pair).refreshToken), 401, 'AUTH_INVALID_TOKEN')
  })

  t.test('more tokens than can be named, from a time without the limit, end all the same', async t => {
    const { opened, oldest, last } = await full()
    await one.database.prepared(`insert into tokens (id, hash, kind, user_id, session_id, abilities, created_at, expires_at)
      select gen_random_uuid(), sha256(convert_to($1 || n::text, 'UTF8')), 'access', $2, $1::uuid, '{*}', now() - interval '1 hour', now() + interval '1 day'
      from generate_series(1, 1500) n`, [opened.session.id, opened.user.id])
    t.equal((await refresh(two, last.refreshToken)).statusCode, 200)
    await dead(t, oldest, 'ended')
    await alive(t, last.accessToken, 'the newest go on')
    const [row] = await one.database.prepared<{ live: number }>(
      "select count(*)::int as live from tokens where session_id = $1 and kind = 'access' and revoked_at is null and expires_at > now()",
      [opened.session.id]
    )
    t.equal(row?.live, most)
  })

  t.test('a session ends as fast however many refresh tokens it has used: their rows are neither written nor waited for', async t => {
    for (const [what, end] of Object.entries({
      logout: (opened: Opened) => two.logout(opened.accessToken),
      'logout-all': (opened: Opened) => two.call('POST', '/v1/logout-all', { token: opened.accessToken }),
      'an administrator': async (opened: Opened) => {
        await two.admin.disable(operator, opened.user.id)
        return { statusCode: 204 }
      },
      everybody: async () => {
        await two.admin.revokeEveryone(operator)
        return { statusCode: 204 }
      },
      'a reuse': (opened: Opened) => refresh(two, opened.refreshToken)
    })) {
      const opened = await open(one)
      const [, used, last] = await refreshTimes(one, opened, 2) as [Pair, Pair, Pair]
      await addUsed(one, opened, 1_000)
      if (what === 'a reuse') {
        clock.advance(31_000)
        await Promise.all([one.trusted(), two.trusted()])
      }
      const others = await hold(t, ground, `select from tokens where session_id = '${opened.session.id}' and consumed_at is not null for update`)
      t.equal((await end(opened)).statusCode, what === 'a reuse' ? 401 : 204, what)
      await others.release()
      for (const { accessToken } of [opened, used, last]) await dead(t, accessToken, what)
      for (const { refreshToken } of [opened, used, last]) refusedAs(t, await refresh(one, refreshToken), 401, 'AUTH_INVALID_TOKEN', what)
      t.equal((await one.database.prepared('select from tokens where session_id = $1 and revoked_at is null and consumed_at is null', [
        opened.session.id
      ])).length, 0, 'all that could still be used is revoked')
    }
  })

  t.test('rows that somebody else holds are left, and hold up no refresh', async t => {
    const opened = await open(one)
    await addDead(one, opened, 4)
    const rows = "select from tokens where name = 'dead' and kind = 'access' order by created_at limit 1"
    const pruning = await hold(t, ground, `${rows} for update`)
    const [, second] = await refreshTimes(one, opened, 1)
    const left = async () =>
      (await one.database.prepared("select from tokens where session_id = $1 and name = 'dead'", [opened.session.id])).length
    t.equal(await left(), 1)
    await pruning.release()
    await refreshTimes(one, second as Pair, 1)
    t.equal(await left(), 0)
  })

  t.test('a deletion looks at no more than two hundred rows', async t => {
    const opened = await open(one)
    await addDead(one, opened, 5_000)
    await one.database.transaction(tx => createSurplusStore().deleteSurplus(tx, opened.session.id, 360))
    const left = await one.database.prepared("select from tokens where session_id = $1 and name = 'dead'", [opened.session.id])
    t.equal(left.length, 4_800)
  })
})

/** `count` rows of the session that are long dead, half of them of access tokens. */
async function addDead (app: TestApp, { session, user }: Opened, count: number): Promise<void> {
  await app.database.prepared(`insert into tokens (id, hash, kind, user_id, session_id, name, abilities, created_at, expires_at, consumed_at)
    select gen_random_uuid(), sha256(convert_to($1 || n::text, 'UTF8')), case when n % 2 = 0 then 'access' else 'refresh' end, $2, $1::uuid, 'dead', '{*}',
      now() - interval '9 days' + n * interval '1 second', now() - interval '1 day', case when n % 2 = 1 then now() - interval '8 days' end
    from generate_series(1, ${count}) n`, [session.id, user.id])
}

/** `count` refresh tokens that the session has used in the last days. */
async function addUsed (app: TestApp, { session, user }: Opened, count: number): Promise<void> {
  await app.database.prepared(`insert into tokens (id, hash, kind, user_id, session_id, abilities, created_at, expires_at, consumed_at)
    select gen_random_uuid(), sha256(convert_to($1 || 'used' || n::text, 'UTF8')), 'refresh', $2, $1::uuid, '{*}', now() - interval '5 days',
      now() + interval '2 days', now() - interval '4 days' from generate_series(1, ${count}) n`, [session.id, user.id])
}

async function open (app: TestApp): Promise<Opened> {
  const reply = await app.register(newEmail(), { refresh: true })
  if (reply.statusCode !== 201) throw new Error(`register answered ${reply.statusCode} ${reply.body}`)
  return reply.json<Opened>()
}

const refresh = (app: TestApp, refreshToken: string) => app.call('POST', '/v1/refresh', { body: { refreshToken } })

/** `pair` and its successors. */
async function refreshTimes (app: TestApp, pair: Pair, times: number): Promise<Pair[]> {
  const pairs = [pair]
  for (let i = 0; i < times; i++) {
    const reply = await refresh(app, (pairs.at(-1) as Pair).refreshToken)
    if (reply.statusCode !== 200) throw new Error(`refresh answered ${reply.statusCode} ${reply.body}`)
    pairs.push(reply.json<Pair>())
  }
  return pairs
}

const accessOf = (pairs: Pair[], i: number): string => (pairs[i] as Pair).accessToken

const pairOf = ({ accessToken, refreshToken }: Pair): Pair => ({ accessToken, refreshToken })
