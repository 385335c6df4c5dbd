import { createHash } from 'node:crypto'
import type { LightMyRequestResponse as Response } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { Database } from '../../src/database/database.js'
import { createReauthenticate } from '../../src/factors/reauthenticate.js'
import type { Principal } from '../../src/tokens/principal.js'
import type { User } from '../../src/users/user.js'
import { becomesTrue, newEmail, onEachGround, password, patienceMs, serverGround, startApp, type TestApp } from '../fixtures/app.js'
import { createDeath } from '../fixtures/death.js'
import { createBarrier, createGate } from '../fixtures/gate.js'
import { hold, holdUser } from '../fixtures/locks.js'

interface Me { user: { id: string, email: string, name: string | null } }

const quarterMs = 15 * 60_000
/** When no password is sent, none is checked. */
const asked = () => Promise.reject(new Error('asked'))
const nobody = {
  requireCurrentPassword: asked,
  find: async () => ({ user: {} as User, passwordHash: '', disabled: false, secondFactor: false })
}
const unasked = { fieldOf: () => null, factorsOf: asked, requireProof: asked }
const patch = (app: TestApp, token: string, body: object) => app.call('PATCH', '/v1/me', { token, body })
const remove = (
  app: TestApp,
  token: string,
  body?: object
) => app.call('DELETE', '/v1/me', { token, ...body === undefined ? {} : { body } })
const makeToken = (
  app: TestApp,
  token: string,
  body: object = {}
) => app.call('POST', '/v1/tokens', { token, body: { name: 'script', ...body } })
const rowsOf = async (app: TestApp, userId: string) => {
  const counts = await Promise.all(['tokens', 'sessions', 'events', 'users'].map(async table => {
    const [row] = await app.database.prepared<{ rows: number }>(
      `select count(*)::int as rows from ${table} where ${table === 'users' ? 'id' : 'user_id'} = $1`,
      [userId]
    )
    return [table, row?.rows]
  }))
  return Object.fromEntries(counts) as Record<string, number>
}

function refused (t: Test, reply: Response, statusCode: number, code: string, what = code): void {
  t.strictSame([reply.statusCode, reply.json<{ code: string }>().code], [statusCode, code], what)
}

onEachGround(t, async (t, ground) => {
  const asked: Array<{ userId: string, email: string }> = []
  const emailChanges = { async request (_tx: unknown, user: { id: string }, email: string) { asked.push({ userId: user.id, email }) } }
  const one = await startApp(t, ground, { emailChanges, env: { ACCESS_TOKEN_TTL: '1h' } })
  const { clock } = one

  t.test('step-up: the 15 minutes end exactly, to the millisecond', async t => {
    const at = clock.now()
    const caller = { user: { id: 'ada' }, session: { createdAt: new Date(at).toISOString() } } as Principal
    const after = (ms: number) =>
      createReauthenticate({ users: nobody, check: unasked, clock: { ...clock, now: () => at + ms } })(
        caller,
        {},
        { address: '127.0.0.1', userAgent: null }
      )
    await t.resolves(after(quarterMs - 1))
    await t.rejects(after(quarterMs), { code: 'AUTH_REAUTHENTICATE' })
    await t.rejects(
      createReauthenticate({ users: nobody, check: unasked, clock })({ ...caller, session: null }, {}, { address: '127.0.0.1', userAgent: null }),
      { code: 'AUTH_REAUTHENTICATE' },
      'without a session there is no login'
    )
  })

  t.test('step-up: a login less than 15 minutes old is enough, and after that the password is enough', async t => {
    const opened = (await one.register(newEmail(), { refresh: true })).json<{
      accessToken: string
      refreshToken: string
      session: { createdAt: string }
    }>()
    const loginAt = Date.parse(opened.session.createdAt)
    let token = opened.accessToken
    const steps: Array<[string, (body?: object) => Promise<Response>]> = [
      ['POST /v1/tokens', body => makeToken(one, token, body)],
      ['PATCH /v1/me with an address', body => patch(one, token, { email: newEmail(), ...body })]
    ]
    await one.pass(loginAt + quarterMs - 60_000 - clock.now())
    for (const [name, step] of steps) t.match((await step()).statusCode, /20[01]/, `${name} a minute before the limit`)

    await one.pass(loginAt + quarterMs - clock.now())
    token = (await one.call('POST', '/v1/refresh', { body: { refreshToken: opened.refreshToken } })).json().accessToken
    for (const [name, step] of [...steps, ['DELETE /v1/me', body => remove(one, token, body)] as typeof steps[0]]) {
      refused(t, await step(), 403, 'AUTH_REAUTHENTICATE', `${name} after 15 minutes, even right after a refresh`)
      refused(t, await step({ password: 'not this one' }), 403, 'AUTH_WRONG_PASSWORD', name)
    }
    t.equal((await patch(one, token, { name: 'Ada' })).statusCode, 200, 'changing the name needs neither')
    for (const [name, step] of [
      ...steps,
      ['DELETE /v1/me', body => remove(one, token, body)] as typeof steps[0]
    ]) t.match((await step({ password })).statusCode, /20[014]/, `${name} with the password`)
  })

  t.test('step-up: a password that is sent is checked, however recent the login, and counts as a login attempt', async t => {
    const limited = await startApp(t, ground, { env: { LOGIN_LIMIT: '3/1m' } })
    const { email, token } = await limited.account()
    for (const reply of [
      await makeToken(limited, token, { password: 'wrong' }),
      await patch(limited, token, { name: 'Ada', password: 'wrong' }),
      await remove(limited, token, { password: 'wrong' })
    ]) refused(t, reply, 403, 'AUTH_WRONG_PASSWORD')
    for (const reply of [
      await makeToken(limited, token, { password }),
      await limited.login(email)
    ]) refused(t, reply, 429, 'AUTH_RATE_LIMITED')
    t.equal((await limited.me(token)).json<Me>().user.name, null, 'nothing has changed')
  })

  t.test('the name changes at once, can be removed, and nothing else changes with it', async t => {
    const { token, email, userId } = await one.account()
    await one.me(token)
    const reply = await patch(one, token, { name: 'Ada Lovelace' })
    t.equal(reply.statusCode, 200, reply.body)
    t.match(reply.json(), { user: { id: userId, email, name: 'Ada Lovelace', role: 'user' } })
    t.equal((await one.me(token)).json<Me>().user.name, 'Ada Lovelace')
    t.equal((await patch(one, token, {})).json<Me>().user.name, 'Ada Lovelace', 'an empty request changes nothing')
    t.equal((await patch(one, token, { name: null })).json<Me>().user.name, null)
    t.equal((await one.me(token)).json<Me>().user.name, null)
    for (const body of [
      { name: '' },
      { name: 'a\u0000b' },
      { name: 1 },
      { role: 'admin' },
      { id: userId },
      { emailVerifiedAt: null },
      { email: 'none' },
      { email: 'a b@example.com' }
    ]) t.equal((await patch(one, token, body)).statusCode, 400, JSON.stringify(body))
    const types = (await one.call('GET', '/v1/events', { token })).json<{ events: Array<{ type: string }> }>().events.map(({ type }) =>
      type)
    t.same(types, ['name_changed', 'name_changed', 'registered'], 'one event for each change')
  })

  t.test('a new address waits until it is confirmed, and nobody learns whether it is taken', async t => {
    const [{ token, email, userId }, other] = [await one.account(), await one.account()]
    asked.length = 0
    const wanted = newEmail()
    const replies = [await patch(one, token, { email: wanted.toUpperCase() }), await patch(one, token, { email: other.email })]
    for (const reply of replies) t.equal(reply.statusCode, 200, reply.body)
    t.equal(replies[0]?.body, replies[1]?.body, 'the same bytes')
    t.equal(replies[0]?.json<Me>().user.email, email, 'the old address still applies')
    t.same(asked, [{ userId, email: wanted }, { userId, email: other.email }])
    t.equal((await one.login(email)).statusCode, 200)
    const mine = (await one.login(email)).json().accessToken
    t.equal((await patch(one, mine, { email: email.toUpperCase() })).statusCode, 200)
    t.equal(asked.length, 2, "the user's own address in another case is not a change")
    t.match(
      (await one.call('GET', '/v1/events', { token: mine })).json().events.filter(({ type }: { type: string }) =>
        type === 'email_change_requested').length,
      2
    )
  })

  t.test('deleting the account leaves only the record that it happened', async t => {
    const { token, email, userId } = await one.account({ name: 'Ada' })
    const personal = (await makeToken(one, token)).json().accessToken
    const reply = await remove(one, token)
    t.equal(reply.statusCode, 204, reply.body)
    for (const dead of [token, personal]) refused(t, await one.me(dead), 401, 'AUTH_INVALID_TOKEN')
    refused(t, await one.login(email), 401, 'AUTH_INVALID_CREDENTIALS')
    t.same(await rowsOf(one, userId), { tokens: 0, sessions: 0, events: 1, users: 0 })
    const [event] = await one.database.prepared<Record<string, unknown>>(
      'select type, actor_id, session_id, token_id, ip, user_agent, cause from events where user_id = $1',
      [userId]
    )
    t.same(event, { type: 'account_deleted', actor_id: null, session_id: null, token_id: null, ip: null, user_agent: null, cause: null })
    refused(t, await remove(one, token), 401, 'AUTH_INVALID_TOKEN', 'a second time')
    t.equal((await one.register(email)).statusCode, 201, 'the address is free')
    t.notOk(one.log.some(line => /"level":(50|60)/.test(line)))
  })

  t.test('the last administrator stays', async t => {
    const [{ token, userId }, other] = [await one.account(), await one.account()]
    await one.database.prepared("update users set role = 'admin' where id = $1", [userId])
    await one.call('PATCH', '/v1/me', { token, body: { name: 'Boss' } })
    refused(t, await remove(one, token), 409, 'AUTH_LAST_ADMIN')
    t.equal((await one.me(token)).statusCode, 200, 'and nothing has ended')
    await one.database.prepared("update users set role = 'admin', disabled_at = now() where id = $1", [other.userId])
    refused(t, await remove(one, token), 409, 'AUTH_LAST_ADMIN', 'a disabled administrator does not count')
    await one.database.prepared('update users set disabled_at = null where id = $1', [other.userId])
    t.equal((await remove(one, token)).statusCode, 204)
  })
})

t.test('on two instances', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const gate = createGate()
  const death = createDeath()
  const env = { SESSION_LIMIT: '5' }
  const [
    one,
    two
  ] = await Promise.all([startApp(t, ground, { env, settle: death.settle }), startApp(t, ground, { env, backend: gate.backend })])
  const redis = new Redis(ground.redisUrl as string)
  t.teardown(() => redis.disconnect())
  const keyOf = (token: string) => `${ground.prefix}token:${createHash('sha256').update(token).digest('hex')}`
  const names = async (token: string) => (await Promise.all([one, two].map(async app => (await app.me(token)).json<Me>().user.name)))
  const statuses = async (token: string) => (await Promise.all([one, two].map(async app => (await app.me(token)).statusCode)))

  t.test('every cached entry of the user shows the new name on the next request', async t => {
    const { token, email } = await one.account({ name: 'before' })
    const tokens = [token, (await two.login(email)).json().accessToken, (await makeToken(one, token)).json().accessToken] as string[]
    for (const each of tokens) {
      await names(each)
      t.ok(await one.cached(each))
    }
    t.equal((await patch(one, token, { name: 'after' })).statusCode, 200)
    for (const each of tokens) t.same(await names(each), ['after', 'after'])
    for (const each of tokens) t.ok(await one.cached(each), 'and is cached again: nothing was ended')
  })

  t.test('a reader who fetched the old name cannot write it back after the change', async t => {
    const { token } = await one.account({ name: 'before' })
    await one.cached(token)
    const held = await gate.hold(async () => {
      await redis.del(keyOf(token))
      return await two.me(token)
    })
    t.equal((await patch(one, token, { name: 'after' })).statusCode, 200)
    held.open()
    t.equal(await held.written, false, 'its lease is gone')
    t.equal((await held.early).json<Me>().user.name, 'before')
    t.same(await names(token), ['after', 'after'])
  })

  t.test('a reader who fetched the account before it was deleted cannot keep it alive', async t => {
    const { token, userId } = await one.account()
    await one.cached(token)
    const held = await gate.hold(async () => {
      await redis.del(keyOf(token))
      return await two.me(token)
    })
    t.equal((await remove(one, token)).statusCode, 204)
    held.open()
    t.equal(await held.written, false)
    await held.early
    t.same(await statuses(token), [401, 401])
    t.equal((await rowsOf(one, userId)).users, 0)
  })

  for (const [name, open] of [
    ['a login', (account: Account) => two.login(account.email)],
    ['a refresh', (account: Account) => two.call('POST', '/v1/refresh', { body: { refreshToken: account.refreshToken } })],
    ['a personal token', (account: Account) => makeToken(two, account.token)],
    ['a change of name', (account: Account) => patch(two, account.token, { name: 'late' })],
    ['another deletion', (account: Account) => remove(two, account.token)]
  ] as const) {
    t.test(`${name} that waits behind a deletion gets nothing`, async t => {
      const account = await refreshing()
      const row = await holdUser(t, ground, account.userId)
      const deletion = remove(one, account.token)
      await row.waiters(1)
      const late = open(account)
      await row.waiters(2)
      await row.release()
      t.equal((await deletion).statusCode, 204)
      t.equal((await late).statusCode, 401, (await late).body)
      t.same(await rowsOf(one, account.userId), { tokens: 0, sessions: 0, events: 1, users: 0 })
    })

    t.test(`${name} just before a deletion does not survive it`, async t => {
      const account = await refreshing()
      const row = await holdUser(t, ground, account.userId)
      const early = open(account)
      await row.waiters(1)
      const deletion = remove(one, account.token)
      await row.waiters(2)
      await row.release()
      const { accessToken } = (await early).body === '' ? { accessToken: account.token } : (await early).json<{ accessToken?: string }>()
      t.equal((await deletion).statusCode, name === 'another deletion' ? 401 : 204)
      t.same(await statuses(accessToken ?? account.token), [401, 401])
      t.same(await rowsOf(one, account.userId), { tokens: 0, sessions: 0, events: 1, users: 0 })
    })
  }

  t.test('an account is dead at once even if the process that deletes it dies, and the next prune deletes it', async t => {
    const { token, email, userId } = await one.account()
    const personal = (await makeToken(one, token)).json().accessToken
    for (const each of [token, personal]) {
      await two.me(each)
      t.ok(await one.cached(each))
    }
    death.comes()
    refused(t, await remove(one, token), 503, 'AUTH_UNAVAILABLE')
    t.equal((await rowsOf(one, userId)).users, 1, 'the row still exists')
    refused(t, await two.login(email), 401, 'AUTH_INVALID_CREDENTIALS')
    t.equal((await two.register(email)).statusCode, 201, 'the address is already free')
    const repetitions: Response[] = []
    t.ok(await becomesTrue(async () => {
      const { hits } = two.counters
      repetitions.push(await remove(two, token))
      return two.counters.hits > hits
    }, patienceMs), 'the cache still accepts it')
    for (const repetition of repetitions) refused(t, repetition, 401, 'AUTH_INVALID_TOKEN', 'a repetition')
    t.same([...await statuses(token), ...await statuses(personal)], [401, 401, 401, 401], 'is refused on both instances')
    t.same(
      await Promise.all([one.prune({ dryRun: false }), two.prune({ dryRun: false })]).then(() => rowsOf(one, userId)),
      { tokens: 0, sessions: 0, events: 1, users: 0 },
      'two prunes at once'
    )
  })

  t.test('a prune that finds a deletion already begun enforces it on both instances before it deletes', async t => {
    const { token, userId } = await one.account()
    await two.me(token)
    t.ok(await one.cached(token))
    death.comes()
    refused(t, await remove(one, token), 503, 'AUTH_UNAVAILABLE')
    await two.prune({ dryRun: false })
    t.same(await statuses(token), [401, 401])
    t.same(await rowsOf(one, userId), { tokens: 0, sessions: 0, events: 1, users: 0 })
  })

  t.test('a login attempt while the account is deleted leaves no trace of the account', async t => {
    const late = createTransactionGate()
    const slow = await startApp(t, { ...ground, database: async () => late.database(await ground.database()) })
    const { email, token, userId } = await slow.account()
    const failures = async () =>
      Number((await one.database.prepared<{ count: string }>('select count(*) from login_failures', []))[0]?.count)
    const before = await failures()
    const held = late.close()
    const tried = slow.call('POST', '/v1/login', { body: { email, password: 'not this one, surely' } })
    await held.arrived
    t.ok(await failures() > before, 'the attempt is counted, and its password checked')
    t.equal((await remove(one, token)).statusCode, 204)
    held.open()
    t.equal((await tried).statusCode, 401)
    t.same(await rowsOf(one, userId), { tokens: 0, sessions: 0, events: 1, users: 0 })
    const [event] = await one.database.prepared<{ user_id: string | null, ip: string }>(
      "select user_id, ip from events where type = 'login_failed' order by created_at desc limit 1",
      []
    )
    t.same(event, { user_id: null, ip: '127.0.0.1' }, 'but the attempt itself is recorded')
  })

  t.test('a prune that holds rows of the account only delays its deletion', async t => {
    const { token, userId } = await one.account()
    const rows = await hold(t, ground, `delete from sessions where false; select from tokens where user_id = '${userId}' for update`)
    const deletion = remove(one, token)
    await rows.waiters(1)
    await rows.release()
    t.equal((await deletion).statusCode, 204)
    t.equal((await rowsOf(one, userId)).users, 0)
  })

  t.test('of two administrators who delete themselves at the same time, one remains', async t => {
    const pair = [await one.account(), await two.account()]
    await one.database.prepared("update users set role = 'user'", [])
    for (const { userId, token } of pair) {
      await one.database.prepared("update users set role = 'admin' where id = $1", [userId])
      await patch(one, token, { name: 'Boss' })
    }
    const row = await holdUser(t, ground, pair[0]?.userId ?? '')
    const early = remove(one, pair[0]?.token ?? '')
    await row.waiters(1)
    const late = remove(two, pair[1]?.token ?? '')
    await row.waiters(2)
    await row.release()
    t.same((await Promise.all([early, late])).map(reply => reply.statusCode), [204, 409])
  })

  async function refreshing () {
    const email = newEmail()
    const { accessToken: token, refreshToken, user } = (await one.register(email, { refresh: true })).json<{
      accessToken: string
      refreshToken: string
      user: { id: string }
    }>()
    return { email, token, refreshToken, userId: user.id }
  }
})

interface Account { email: string, token: string, refreshToken: string, userId: string }

/** A database whose next transaction waits at a gate once the gate is closed. */
function createTransactionGate () {
  const barrier = createBarrier()
  return {
    database: (real: Database): Database => ({
      ...real,
      async transaction (work, limitMs) {
        const held = barrier.take()
        held?.arrive()
        await held?.opened
        return await real.transaction(work, limitMs)
      }
    }),
    close: barrier.close
  }
}
