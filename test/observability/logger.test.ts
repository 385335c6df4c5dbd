import t from 'tap'
import { UnavailableError } from '../../src/shared/errors.js'
import type { CacheBackend } from '../../src/token-cache/backend.js'
import { RefusedCommandError } from '../../src/token-cache/backend.js'
import { newEmail, onEachGround, password, startApp, type TestApp } from '../fixtures/app.js'

type Line = Record<string, unknown>

onEachGround(t, async (t, ground) => {
  /** The log lines that `work` causes. */
  async function linesOf (one: TestApp, work: () => Promise<unknown>): Promise<Line[]> {
    const before = one.log.length
    await work()
    return one.log.slice(before).map(line => JSON.parse(line) as Line)
  }
  const saying = (lines: Line[], msg: string) => lines.filter(line => line.msg === msg)
  const one = await startApp(t, ground, { env: { LOG_LEVEL: 'info' } })
  const uuid = /^[0-9a-f-]{36}(-\d+)?$/

  t.test('every refresh is logged with its request, user and session, and without any token', async t => {
    const { refreshToken, user, session } = (await one.register(newEmail(), { refresh: true })).json<{
      refreshToken: string
      user: { id: string }
      session: { id: string }
    }>()
    const refresh = () => one.call('POST', '/v1/refresh', { body: { refreshToken } })
    const ids = { userId: user.id, sessionId: session.id, tokenId: uuid, reqId: uuid }

    const first = await linesOf(one, refresh)
    t.match(saying(first, 'refresh'), [{ level: 30, outcome: 'succeeded', ...ids }])
    t.match(saying(await linesOf(one, refresh), 'refresh'), [{ outcome: 'repeated', ...ids }])
    await one.pass(31_000)
    const reused = await linesOf(one, refresh)
    t.match(saying(reused, 'a refresh token was used again: its session is ended'), [{ level: 40, outcome: 'reused', ...ids }])
    t.match(saying(reused, 'event recorded').map(({ event }) => event), ['refresh_token_reused', 'session_ended'])
    t.match(saying(await linesOf(one, refresh), 'refresh'), [{ outcome: 'refused', ...ids }])
    const madeUp = await linesOf(one, () => one.call('POST', '/v1/refresh', { body: { refreshToken: 'lkr_made-up' } }))
    t.same(madeUp.filter(({ msg }) => !/^the cache is /.test(String(msg))), [], 'made-up tokens are not logged')
  })

  t.test('every revocation is logged with what it ended and why, and again when every cache has it', async t => {
    const { token, userId, sessionId } = await one.account()
    const lines = await linesOf(one, () => one.logout(token))
    t.match(saying(lines, 'event recorded'), [{ level: 30, event: 'session_ended', cause: 'logout', userId, sessionId, reqId: uuid }])
    t.match(saying(lines, 'settled in every cache'), [{ level: 30, tokens: 1, mark: 'revoked', settlement: uuid }])
  })

  t.test('a change that was rolled back is not logged', async t => {
    const { email } = await one.account()
    t.same(saying(await linesOf(one, () => one.register(email)), 'event recorded'), [])
  })

  t.test('a failed login is logged once with its cause, for an account and for an address that has none', async t => {
    const { email, userId } = await one.account()
    const wrong = await linesOf(one, () => one.call('POST', '/v1/login', { body: { email, password: 'not the password' } }))
    t.match(saying(wrong, 'event recorded'), [{ level: 30, event: 'login_failed', cause: 'wrong_password', userId, reqId: uuid }])
    const unknown = await linesOf(one, () => one.call('POST', '/v1/login', { body: { email: newEmail(), password } }))
    t.match(saying(unknown, 'event recorded'), [{ level: 30, event: 'login_failed', cause: 'unknown_account', reqId: uuid }])
    t.notOk('userId' in (saying(unknown, 'event recorded')[0] ?? {}))
  })

  t.test('a revocation that could not be settled is logged, and its request is answered with 503', async t => {
    const other = await startApp(
      t,
      ground,
      { env: { LOG_LEVEL: 'info' }, settle: real => ({ ...real, settle: () => Promise.reject(new UnavailableError()) }) }
    )
    const { token } = await other.account()
    const lines = await linesOf(other, () => other.logout(token))
    t.match(saying(lines, 'committed, and not settled in every cache'), [{ level: 40, tokens: 1, failure: /AUTH_UNAVAILABLE/ }])
    t.match(saying(lines, 'answered 503'), [{ reqId: uuid }])
    // If it stayed, the other tests would have no cache.
    await other.database.prepared('delete from cache_settlements', [])
  })

  t.test('a failed cache command is logged once, and a server that refuses every command is logged once in ten seconds', async t => {
    let failure: Error | null = null
    // All the ways to read a key.
    const breaking = (real: CacheBackend): CacheBackend => new Proxy(real, {
      get (target, name) {
        const value: unknown = Reflect.get(target, name, target)
        return failure !== null && (name === 'takeLease' || name === 'get') ? () => Promise.reject(failure) : value
      }
    })
    const other = await startApp(t, ground, { env: { LOG_LEVEL: 'info' }, backend: breaking })
    const { token } = await other.account()
    await other.trusted()
    failure = new RefusedCommandError('OOM with a secret')
    const refused = await linesOf(other, async () => { for (let i = 0; i < 5; i++) t.equal((await other.me(token)).statusCode, 200) })
    t.match(saying(refused, 'the cache refused a command'), [{ level: 40 }])
    t.equal(saying(refused, 'the cache refused a command').length, 1)
    await other.trusted()
    failure = new Error('a secret')
    const failed = await linesOf(other, () => Promise.all(Array.from({ length: 3 }, () => other.me(token))))
    const told = 'a command to the cache failed: answering from the database until the next poll'
    t.match(saying(failed, told), [{ level: 40, cause: 'Error' }])
    t.equal(saying(failed, told).length, 1)
    t.notMatch(other.log.join(''), 'secret')
  })

  t.test('no line contains an address, a password or a token', async t => {
    const email = newEmail()
    const { accessToken, refreshToken } = (await one.register(email, { refresh: true })).json<{
      accessToken: string
      refreshToken: string
    }>()
    await one.call('POST', '/v1/refresh', { body: { refreshToken } })
    await one.login(email)
    await one.call('POST', '/v1/logout-all', { token: accessToken })
    const all = one.log.join('')
    for (const secret of [email, password, accessToken.slice(4, 30), refreshToken.slice(4, 30), '127.0.0.1']) t.notOk(all.includes(secret))
  })
})
