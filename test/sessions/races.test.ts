import { createHash } from 'node:crypto'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { Database } from '../../src/database/database.js'
import { becomesTrue, type Ground, newEmail, password, patienceMs, serverGround, startApp, type TestApp } from '../fixtures/app.js'
import { createDeath } from '../fixtures/death.js'
import { createBarrier, createGate } from '../fixtures/gate.js'
import { hold, holdUser } from '../fixtures/locks.js'

/** Every interleaving is forced: a row or a gate is held, the test sees who waits there, then lets go. */

const newPassword = 'another long password'

t.test('races on PostgreSQL and Redis', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const redis = new Redis(ground.redisUrl as string)
  t.teardown(() => redis.disconnect())
  const keyOf = (token: string) => `${ground.prefix}token:${createHash('sha256').update(token).digest('hex')}`

  const gate = createGate()
  const death = createDeath()
  const [one, two] = await Promise.all([startApp(t, ground, { settle: death.settle }), startApp(t, ground, { backend: gate.backend })])
  const wide = { SESSION_LIMIT: '5' }
  const [
    wideOne,
    wideTwo
  ] = await Promise.all([startApp(t, ground, { env: wide, settle: death.settle }), startApp(t, ground, { env: wide })])

  const refusedOnBoth = async (t: Test, token: string, what: string) => {
    const replies = await Promise.all([one.me(token), two.me(token), one.me(token), two.me(token)])
    t.strictSame(replies.map(reply => reply.statusCode), [401, 401, 401, 401], what)
  }
  const acceptedOnBoth = async (t: Test, token: string, what: string) => {
    const replies = await Promise.all([one.me(token), two.me(token)])
    t.strictSame(replies.map(reply => reply.statusCode), [200, 200], what)
  }
  const liveSessions = async (userId: string) => {
    const [row] = await one.database.prepared<{ live: number }>(
      'select count(*)::int as live from sessions where user_id = $1 and ended_at is null',
      [userId]
    )
    return row?.live
  }
  /** For use after a death: the other instances would settle it in three seconds. */
  const leaveToRepetition = () => one.database.prepared('delete from cache_settlements', [])
  /** Which of `tokens` a new request may use. */
  const accepted = async (
    app: TestApp,
    tokens: string[]
  ) => (await Promise.all(tokens.map(async token => (await app.me(token)).statusCode === 200 ? [token] : []))).flat()

  for (const [limit, [first, second]] of [[1, [one, two]], [2, await pair(t, ground, { SESSION_LIMIT: '2' })]] as const) {
    t.test(`two logins racing leave exactly ${limit} with SESSION_LIMIT=${limit}`, async t => {
      const { email, userId, token } = await first.account()
      const row = await holdUser(t, ground, userId)
      const early = first.login(email)
      await row.waiters(1)
      const late = second.login(email)
      await row.waiters(2)
      await row.release()

      const replies = await Promise.all([early, late])
      t.strictSame(replies.map(reply => reply.statusCode), [200, 200])
      const [earlyToken, lateToken] = replies.map(reply => reply.json<{ accessToken: string }>().accessToken) as [string, string]
      t.equal(await liveSessions(userId), limit)
      const expected = [token, earlyToken, lateToken].slice(-limit)
      t.strictSame(await accepted(first, [token, earlyToken, lateToken]), expected, 'the newest are left')
      t.strictSame(await accepted(second, [token, earlyToken, lateToken]), expected, 'on both instances')
    })

    t.test(`twenty parallel logins leave exactly ${limit} with SESSION_LIMIT=${limit}`, async t => {
      const { email, userId } = await first.account()
      const replies = await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? first : second).login(email)))
      t.strictSame([...new Set(replies.map(reply => reply.statusCode))], [200])
      const tokens = replies.map(reply => reply.json<{ accessToken: string }>().accessToken)
      t.equal(await liveSessions(userId), limit)
      const left = await accepted(first, tokens)
      t.equal(left.length, limit)
      t.strictSame(await accepted(second, tokens), left)
    })
  }

  t.test('a login that checked the old password before a change was committed is refused after it', async t => {
    const { email, userId, token } = await one.account()
    const row = await holdUser(t, ground, userId)
    const change = one.call('PUT', '/v1/password', { token, body: { currentPassword: password, newPassword } })
    await row.waiters(1)
    const login = two.login(email)
    await row.waiters(2)
    await row.release()

    const changed = await change
    t.equal(changed.statusCode, 200)
    const refused = await login
    t.equal(refused.statusCode, 401)
    t.equal(refused.json().code, 'AUTH_INVALID_CREDENTIALS')
    t.equal(await liveSessions(userId), 1)
    await acceptedOnBoth(t, changed.json().accessToken, 'the token from the change works')
    t.equal((await two.login(email)).statusCode, 401, 'the old password no longer works')
    t.equal((await two.login(email, { password: newPassword })).statusCode, 200)
  })

  t.test('a login with the old password just before a change is ended by the change', async t => {
    const { email, userId, token } = await wideOne.account()
    const row = await holdUser(t, ground, userId)
    const login = wideTwo.login(email)
    await row.waiters(1)
    const change = wideOne.call('PUT', '/v1/password', { token, body: { currentPassword: password, newPassword } })
    await row.waiters(2)
    await row.release()

    const changed = await change
    t.equal(changed.statusCode, 200)
    const loggedIn = await login
    t.equal(loggedIn.statusCode, 200)
    await refusedOnBoth(t, loggedIn.json().accessToken, 'opened with the old password')
    await refusedOnBoth(t, token, 'the token from before the change')
    await acceptedOnBoth(t, changed.json().accessToken, 'the token from the change')
  })

  t.test('a password change is refused when its token is revoked while it runs', async t => {
    const { email, userId, token } = await one.account()
    t.ok(await one.cached(token))
    const row = await holdUser(t, ground, userId)
    const logout = two.logout(token)
    await row.waiters(1)
    const change = one.call('PUT', '/v1/password', { token, body: { currentPassword: password, newPassword } })
    await row.waiters(2)
    await row.release()

    t.equal((await logout).statusCode, 204)
    const refused = await change
    t.equal(refused.statusCode, 401)
    t.equal(refused.json().code, 'AUTH_INVALID_TOKEN')
    t.equal(await liveSessions(userId), 0)
    t.equal((await one.login(email, { password: newPassword })).statusCode, 401, 'nothing was changed')
    t.equal((await one.login(email)).statusCode, 200)
  })

  t.test('a password change is refused when a login has replaced its token', async t => {
    const { email, userId, token } = await one.account()
    const row = await holdUser(t, ground, userId)
    const login = two.login(email)
    await row.waiters(1)
    const change = one.call('PUT', '/v1/password', { token, body: { currentPassword: password, newPassword } })
    await row.waiters(2)
    await row.release()

    t.equal((await change).statusCode, 401)
    await acceptedOnBoth(t, (await login).json().accessToken, 'the login stands')
    await refusedOnBoth(t, token, 'replaced')
  })

  for (const order of ['logout', 'logout-all'] as const) {
    t.test(`logout racing logout-all leaves no session, ${order} first`, async t => {
      const { email, userId, token } = await wideOne.account()
      const other = (await wideTwo.login(email)).json<{ accessToken: string }>().accessToken
      t.ok(await wideOne.cached(token) && await wideTwo.cached(other))
      const row = await holdUser(t, ground, userId)
      const ends = { logout: () => wideOne.logout(token), 'logout-all': () => wideTwo.call('POST', '/v1/logout-all', { token: other }) }
      const early = ends[order]()
      await row.waiters(1)
      const late = ends[order === 'logout' ? 'logout-all' : 'logout']()
      await row.waiters(2)
      await row.release()

      t.equal((await early).statusCode, 204)
      t.equal((await late).statusCode, order === 'logout' ? 204 : 401)
      t.equal(await liveSessions(userId), 0)
      await refusedOnBoth(t, token, 'logged out')
      await refusedOnBoth(t, other, 'logged out with all')
    })
  }

  t.test('a fill that arrives after a revocation leaves the token refused', async t => {
    const { token } = await one.account()
    t.ok(await one.cached(token))
    const fill = await gate.hold(async () => {
      await redis.del(keyOf(token))
      return await two.me(token)
    })
    t.equal((await fill.early).statusCode, 200, 'the reader saw the live row')
    t.equal((await one.logout(token)).statusCode, 204)
    fill.open()

    t.equal(await fill.written, false)
    t.equal(await redis.get(keyOf(token)), 'R')
    await refusedOnBoth(t, token, 'the late fill changed nothing')
  })

  t.test('a fill that arrives after a revocation whose mark was evicted leaves the token refused', async t => {
    const { token } = await one.account()
    t.ok(await one.cached(token))
    const fill = await gate.hold(async () => {
      await redis.del(keyOf(token))
      return await two.me(token)
    })
    t.equal((await fill.early).statusCode, 200)
    t.equal((await one.logout(token)).statusCode, 204)
    await redis.del(keyOf(token))
    fill.open()

    t.equal(await fill.written, false)
    t.equal(await redis.get(keyOf(token)), null)
    await refusedOnBoth(t, token, 'nobody writes without a lease')
  })

  t.test('a fill whose lease ended and was taken by another reader changes nothing', async t => {
    const { token } = await one.account()
    t.ok(await one.cached(token))
    const fill = await gate.hold(async () => {
      await redis.del(keyOf(token))
      return await two.me(token)
    })
    t.equal((await fill.early).statusCode, 200)
    await redis.set(keyOf(token), 'Lsomebody-else')
    fill.open()

    t.equal(await fill.written, false)
    t.equal(await redis.get(keyOf(token)), 'Lsomebody-else')
    await acceptedOnBoth(t, token, 'answered from the database')
    t.equal((await two.logout(token)).statusCode, 204)
    await refusedOnBoth(t, token, 'a lease does not outlive a revocation')
  })

  t.test('a fill for a token just issued that arrives after its revocation leaves the token refused', async t => {
    const { email } = await one.account()
    const fill = await gate.hold(() => two.login(email))
    const login = await fill.early
    t.equal(login.statusCode, 200)
    const { accessToken: token } = login.json<{ accessToken: string }>()
    t.equal((await one.logout(token)).statusCode, 204)
    fill.open()

    t.equal(await fill.written, false)
    await refusedOnBoth(t, token, 'issued, revoked, then filled')
  })

  t.test('identical look-ups in one turn share one query', async t => {
    const lone = await startApp(t, { ...ground, redisUrl: null })
    const { token } = await one.account()
    const before = lone.counters.databaseReads
    const replies = await Promise.all(Array.from({ length: 5 }, () => lone.me(token)))
    t.strictSame(replies.map(reply => reply.statusCode), [200, 200, 200, 200, 200])
    t.equal(lone.counters.databaseReads - before, 1)
  })

  t.test('a look-up does not join one that was already sent', async t => {
    const reads = createReadGate()
    const lone = await startApp(t, { ...ground, redisUrl: null, database: async () => reads.database(await ground.database()) })
    const { token } = await one.account()
    const before = lone.counters.databaseReads
    const read = reads.close()
    const early = lone.me(token)
    await read.arrived
    t.equal((await one.logout(token)).statusCode, 204)
    const late = lone.me(token)
    t.equal((await late).statusCode, 401, 'started after the revocation was answered')
    read.open()

    t.equal((await early).statusCode, 200, 'started before it')
    t.equal(lone.counters.databaseReads - before, 2)
  })

  t.test('two identical look-ups wait for two queries when the first was already sent', async t => {
    const lone = await startApp(t, { ...ground, redisUrl: null })
    const { token } = await one.account()
    const before = lone.counters.databaseReads
    const table = await hold(t, ground, 'lock table tokens in access exclusive mode')
    // The writes that happen every few seconds wait for the table too.
    const lookUp = '%json_build_array%'
    const early = lone.me(token)
    await table.waiters(1, lookUp)
    const late = lone.me(token)
    await table.waiters(2, lookUp)
    await table.release()

    t.strictSame((await Promise.all([early, late])).map(reply => reply.statusCode), [200, 200])
    t.equal(lone.counters.databaseReads - before, 2)
  })

  t.test('a logout whose process died before it reached the cache takes effect once it is repeated', async t => {
    const { token } = await one.account()
    t.ok(await one.cached(token))
    death.comes()
    const died = await one.logout(token)
    t.equal(died.statusCode, 503)
    await leaveToRepetition()
    t.match(await redis.get(keyOf(token)), /^V/, 'committed, but the cache does not know of it yet')

    // If the instance asks the database, it refuses the logout before anything is settled.
    const accepted = await becomesTrue(async () => {
      const { hits } = two.counters
      t.equal((await two.logout(token)).statusCode, 401)
      return two.counters.hits > hits
    }, patienceMs)
    t.ok(accepted, 'answered by a cache that does not know of it yet')
    t.equal(await redis.get(keyOf(token)), 'R')
    await refusedOnBoth(t, token, 'the repetition settled it')
  })

  t.test('ending a session takes effect once it is repeated, if the first process died', async t => {
    const { email, token } = await wideOne.account()
    const other = (await wideTwo.login(email)).json<{ accessToken: string, session: { id: string } }>()
    t.ok(await wideTwo.cached(other.accessToken))
    death.comes()
    t.equal((await wideOne.call('DELETE', `/v1/sessions/${other.session.id}`, { token })).statusCode, 503)
    await leaveToRepetition()
    t.match(await redis.get(keyOf(other.accessToken)), /^V/)

    t.equal((await wideOne.call('DELETE', `/v1/sessions/${other.session.id}`, { token })).statusCode, 204)
    await refusedOnBoth(t, other.accessToken, 'named again, although already revoked')
    await acceptedOnBoth(t, token, 'the caller stays logged in')
  })

  t.test('a login whose process died before it settled takes effect once it is repeated', async t => {
    const { email, token } = await one.account()
    t.ok(await one.cached(token))
    death.comes()
    t.equal((await one.login(email)).statusCode, 503)
    await leaveToRepetition()
    t.match(await redis.get(keyOf(token)), /^V/)

    t.equal((await two.login(email)).statusCode, 200)
    await refusedOnBoth(t, token, 'replaced by the login that died')
  })

  t.test('a revocation that nobody repeats is settled by the other instances', async t => {
    const { token } = await one.account()
    t.ok(await one.cached(token))
    death.comes()
    t.equal((await one.logout(token)).statusCode, 503)
    t.ok(await becomesTrue(async () => (await one.me(token)).statusCode === 401 && (await two.me(token)).statusCode === 401, patienceMs))
    const settled = async () => (await one.database.prepared('select 1 from cache_settlements', [])).length === 0
    t.ok(await becomesTrue(settled, patienceMs), 'nothing is left to settle')
    t.ok(
      await becomesTrue(() => one.epoch.state() === 'trusted' && two.epoch.state() === 'trusted', patienceMs),
      'and the cache is trusted again'
    )
  })

  t.test('ending one session twice succeeds both times', async t => {
    const { email, userId, token } = await wideOne.account()
    const other = (await wideTwo.login(email)).json<{ accessToken: string, session: { id: string } }>()
    const end = (app: TestApp) => app.call('DELETE', `/v1/sessions/${other.session.id}`, { token })
    const row = await holdUser(t, ground, userId)
    const early = end(wideOne)
    await row.waiters(1)
    const late = end(wideTwo)
    await row.waiters(2)
    await row.release()

    t.strictSame((await Promise.all([early, late])).map(reply => reply.statusCode), [204, 204])
    t.equal((await end(wideTwo)).statusCode, 204)
    await refusedOnBoth(t, other.accessToken, 'ended')
    t.equal(await liveSessions(userId), 1)
  })

  t.test('one email registered twice at once makes one account', async t => {
    const email = newEmail()
    const row = await hold(
      t,
      ground,
      `insert into users (id, email, password_hash, created_at) values (gen_random_uuid(), '${email}', 'x', now())`
    )
    const early = one.register(email)
    const late = two.register(email)
    await row.waiters(2)
    await row.release()

    const replies = await Promise.all([early, late])
    t.strictSame(replies.map(reply => reply.statusCode).sort(), [201, 409])
    t.equal(replies.find(reply => reply.statusCode === 409)?.json().code, 'AUTH_EMAIL_TAKEN')
    t.equal((await one.database.prepared('select 1 from users where email = $1', [email])).length, 1)
    await acceptedOnBoth(t, replies.find(reply => reply.statusCode === 201)?.json().accessToken, 'the token of the account that was made')
  })

  t.test('fifty parallel logouts of one token end it without an error', async t => {
    const { userId, token } = await one.account()
    t.ok(await one.cached(token))
    const replies = await Promise.all(Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? one : two).logout(token)))
    const statuses = replies.map(reply => reply.statusCode)
    t.ok(statuses.includes(204))
    t.strictSame(statuses.filter(status => status !== 204 && status !== 401), [])
    t.equal(await liveSessions(userId), 0)
    await refusedOnBoth(t, token, 'logged out')
  })
})

async function pair (t: Test, ground: Ground, env: Record<string, string>): Promise<readonly [TestApp, TestApp]> {
  return await Promise.all([startApp(t, ground, { env }), startApp(t, ground, { env })])
}

/** A database that, once the gate is closed, holds back its next answer about tokens: fetched, but not yet delivered. */
function createReadGate () {
  const barrier = createBarrier()
  return {
    database: (real: Database): Database => ({
      ...real,
      async prepared<Row> (...args: Parameters<Database['prepared']>) {
        const held = args[0].includes('join users') ? barrier.take() : null
        const rows = await real.prepared<Row>(...args)
        held?.arrive()
        await held?.opened
        return rows
      }
    }),
    close: barrier.close
  }
}
