import { setTimeout as delay } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import t from 'tap'
import { cursorOf } from '../../src/shared/pagination.js'
import { newEmail, onEachGround, password, startApp, type TestApp } from '../fixtures/app.js'

interface Event { id: string, createdAt: string, type: string, userId: string, actorId: string | null, sessionId: string | null, tokenId: string | null, ip: string, userAgent: string | null, cause: string | null }

const page = async (one: TestApp, token: string, query = '') => (await one.call('GET', `/v1/events${query}`, { token })).json<{ events: Event[], nextCursor: string | null }>()
const told = async (one: TestApp, token: string) => (await page(one, token)).events.map(({ type, cause }) => cause === null ? type : `${type}: ${cause}`)

onEachGround(t, async (t, ground) => {
  const one = await startApp(t, ground)

  t.test('the trail says who did what, when and from where', async t => {
    const { token, userId, sessionId } = await one.account()
    const { events, nextCursor } = await page(one, token)
    t.equal(nextCursor, null)
    t.equal(events.length, 1)
    t.same(Object.keys(events[0] ?? {}).sort(), ['actorId', 'cause', 'createdAt', 'id', 'ip', 'previousEmail', 'role', 'sessionId', 'tokenId', 'type', 'userAgent', 'userId'])
    t.match(events[0], { type: 'registered', userId, sessionId, actorId: null, tokenId: null, ip: '127.0.0.1', userAgent: 'lightMyRequest', cause: null })
  })

  t.test('the end of a session is recorded with its cause', async t => {
    const { email, token } = await one.account()
    const second = (await one.login(email)).json().accessToken
    t.same((await told(one, second)).sort(), ['login_succeeded', 'registered', 'session_ended: session_limit'])
    t.equal((await one.me(token)).statusCode, 401)
    const third = (await one.call('PUT', '/v1/password', { token: second, body: { currentPassword: password, newPassword: 'a new and longer one' } })).json().accessToken
    t.match(await told(one, third), ['password_changed'])
    t.equal((await one.logout(third)).statusCode, 204)
    const fourth = (await one.login(email, { password: 'a new and longer one' })).json().accessToken
    t.same((await told(one, fourth)).slice(0, 2), ['login_succeeded', 'session_ended: logout'])
  })

  t.test('events about personal tokens give their id', async t => {
    const { token } = await one.account()
    const { id } = (await one.call('POST', '/v1/tokens', { token, body: { name: 'backup' } })).json().token
    t.equal((await one.call('DELETE', `/v1/tokens/${id}`, { token })).statusCode, 204)
    t.equal((await one.call('DELETE', `/v1/tokens/${id}`, { token })).statusCode, 204, 'ending it again makes no second event')
    t.match((await page(one, token)).events, [{ type: 'personal_token_ended', tokenId: id, cause: 'ended_by_user' }, { type: 'personal_token_created', tokenId: id }, { type: 'registered' }])
  })

  t.test('reuse of a refresh token is recorded once, with the session it ended', async t => {
    const clocked = await startApp(t, ground, { env: { SESSION_LIMIT: '0' }, clock: one.clock })
    const email = newEmail()
    const { refreshToken, session } = (await clocked.register(email, { refresh: true })).json()
    t.equal((await clocked.call('POST', '/v1/refresh', { body: { refreshToken } })).statusCode, 200)
    one.clock.advance(31_000)
    for (let i = 0; i < 2; i++) t.equal((await clocked.call('POST', '/v1/refresh', { body: { refreshToken }, headers: { 'user-agent': 'thief' } })).statusCode, 401)
    const { accessToken } = (await clocked.login(email)).json()
    const { events } = await page(clocked, accessToken)
    t.same(events.filter(event => event.type === 'refresh_token_reused').map(({ sessionId, userAgent }) => [sessionId, userAgent]), [[session.id, 'thief']])
    t.match(events.find(event => event.type === 'session_ended'), { sessionId: session.id, cause: 'refresh_token_reused' })
  })

  t.test('pages follow each other without gaps or repeats while new events arrive', async t => {
    const { token } = await one.account()
    for (let i = 0; i < 7; i++) await one.call('POST', '/v1/tokens', { token, body: { name: `token ${i}` } })
    const all = (await page(one, token)).events.map(({ id }) => id)
    const seen: string[] = []
    for (let cursor: string | null = null, pages = 0; pages < 10; pages++) {
      const next: { events: Event[], nextCursor: string | null } = await page(one, token, `?limit=3${cursor === null ? '' : `&cursor=${cursor}`}`)
      seen.push(...next.events.map(({ id }) => id))
      cursor = next.nextCursor
      if (cursor === null) break
      await one.call('POST', '/v1/tokens', { token, body: { name: 'meanwhile' } })
    }
    t.same(seen, all)
  })

  t.test('an impossible page or cursor is a 400', async t => {
    const { token } = await one.account()
    for (const query of ['?limit=0', '?limit=101', '?limit=x', '?limit=1&limit=2', '?userId=1', '?cursor=x', '?cursor=MS54', `?cursor=${Buffer.from('999999999999999.00000000-0000-0000-0000-000000000000').toString('base64url')}`]) {
      t.equal((await one.call('GET', `/v1/events${query}`, { token })).statusCode, 400, query)
    }
    for (const year of ['0001-01-01', '1969-12-31', '2286-11-20', '9000-01-01', '9999-12-31']) {
      const cursor = cursorOf({ createdAt: new Date(`${year}T00:00:00Z`), id: '00000000-0000-4000-8000-000000000000' })
      t.equal((await one.call('GET', `/v1/events?cursor=${cursor}`, { token })).statusCode, 200, `a cursor of ${year}, as this list would give it`)
    }
  })

  t.test('users learn nothing about others, and a personal token learns nothing at all', async t => {
    const [mine, theirs] = [await one.account(), await one.account()]
    t.same((await page(one, mine.token)).events.filter(({ userId }) => userId !== mine.userId), [])
    t.equal((await one.call('GET', `/v1/events?userId=${theirs.userId}`, { token: mine.token })).statusCode, 400)
    const { accessToken } = (await one.call('POST', '/v1/tokens', { token: mine.token, body: { name: 'backup' } })).json()
    t.equal((await one.call('GET', '/v1/events', { token: accessToken })).json().code, 'AUTH_SESSION_REQUIRED')
  })

  t.test('a row cannot be changed, not even by bypassing this program', async t => {
    await one.account()
    await t.rejects(one.database.query(db => db.execute(sql`update events set type = 'login_failed'`)))
  })

  t.test('what cannot be recorded does not happen', async t => {
    const { email, token } = await one.account()
    await one.database.query(db => db.execute(sql`alter table events add constraint nothing_more check (type <> 'session_ended') not valid`))
    t.equal((await one.logout(token)).statusCode, 500)
    t.equal((await one.login(email)).statusCode, 500)
    t.equal((await one.me(token)).statusCode, 200, 'the session goes on')
    await one.database.query(db => db.execute(sql`alter table events drop constraint nothing_more`))
    t.equal((await one.logout(token)).statusCode, 204)
  })

  t.test('events older than AUDIT_RETENTION are pruned', async t => {
    const short = await startApp(t, ground, { env: { AUDIT_RETENTION: '1h' }, clock: one.clock })
    await short.account()
    await delay(5)
    one.clock.advance(3_600_000)
    const { token } = await short.account()
    const { events: counted } = await short.prune({ dryRun: true })
    t.ok(counted > 0)
    t.equal((await short.prune({ dryRun: false })).events, counted)
    t.match((await page(short, token)).events, [{ type: 'registered' }])
    t.equal((await short.prune({ dryRun: false })).events, 0)
  })
})
