import type { LightMyRequestResponse as Response } from 'fastify'
import { Redis } from 'ioredis'
import t from 'tap'
import { operator } from '../../src/admin/service.js'
import { InvalidTokenError } from '../../src/shared/errors.js'
import type { Principal } from '../../src/tokens/principal.js'
import { sessionDataHash } from '../../src/tokens/token.js'
import { becomesTrue, onEachGround, patienceMs, serverGround, startApp, type TestApp } from '../fixtures/app.js'

const url = '/v1/session/data'
const tagOf = (reply: Response) => String(reply.headers.etag)

function accessTo (one: TestApp, token: string) {
  return {
    get: (headers: Record<string, string> = {}) => one.call('GET', url, { token, headers }),
    put: (body: unknown, headers: Record<string, string> = {}) => one.call('PUT', url, { token, body, headers }),
    patch: (body: unknown, headers: Record<string, string> = {}) => one.call('PATCH', url, { token, body, headers }),
    /** Sends `payload` as it is. */
    send: (method: 'PUT' | 'PATCH', payload: string | Buffer, type = 'application/json') =>
      one.app.inject({ method, url, payload, headers: { authorization: `Bearer ${token}`, 'content-type': type } })
  }
}

/** Reads until the cache answers: it may be untrusted for a moment. */
async function cached (one: TestApp, read: () => Promise<unknown>, lookUps = 2): Promise<boolean> {
  return await becomesTrue(async () => {
    const { hits } = one.counters
    await read()
    return one.counters.hits >= hits + lookUps
  }, patienceMs)
}

onEachGround(t, async (t, ground) => {
  const one = await startApp(t, ground, { env: { SESSION_DATA_LIMIT: '0' } })
  const own = async () => accessTo(one, (await one.account()).token)

  t.test('an object is kept with the session: replaced by PUT, changed by PATCH, with another ETag each time', async t => {
    const { get, put, patch } = await own()
    const empty = await get()
    t.strictSame([empty.statusCode, empty.json()], [200, { data: {} }])

    const written = await put({ cart: ['a', 'b'], theme: { dark: true, size: 1 }, gone: null })
    t.strictSame([written.statusCode, written.json()], [200, { data: { cart: ['a', 'b'], theme: { dark: true, size: 1 }, gone: null } }])
    const changed = await patch({ theme: { size: 2, dark: null }, cart: ['c'], name: 'Ada' })
    t.strictSame(changed.json(), { data: { cart: ['c'], theme: { size: 2 }, gone: null, name: 'Ada' } })
    const read = await get()
    t.strictSame([read.json(), tagOf(read)], [changed.json(), tagOf(changed)])
    t.match([empty, written, changed].map(tagOf), [/^"[0-9a-f-]{36}"$/, /^"[0-9a-f-]{36}"$/, /^"[0-9a-f-]{36}"$/])
    t.equal(new Set([empty, written, changed, await patch({})].map(tagOf)).size, 4, 'also where nothing changes')
    t.strictSame((await put({})).json(), { data: {} })
    for (const reply of [empty, written, changed, read]) {
      t.match(reply.headers, { 'cache-control': 'no-store', 'content-type': /^application\/json/ })
    }
  })

  t.test('it is answered from the cache, and HEAD tells the same without the data', async t => {
    const { token } = await one.account()
    const { get, put } = accessTo(one, token)
    const written = await put({ a: 1 })
    t.ok(await cached(one, get))
    t.strictSame((await get()).json(), { data: { a: 1 } })
    const head = await one.app.inject({ method: 'HEAD', url, headers: { authorization: `Bearer ${token}` } })
    t.strictSame([head.statusCode, head.body, tagOf(head), head.headers['content-length']], [200, '', tagOf(written), '16'])
  })

  t.test('If-Match and If-None-Match are followed (RFC 9110 13.1)', async t => {
    const { get, put, patch } = await own()
    const first = tagOf(await get())
    const stale = tagOf(await put({ a: 1 }))
    const current = tagOf(await put({ a: 2 }))
    for (const write of [put, patch]) {
      for (const condition of [
        { 'if-match': stale }, { 'if-match': first }, { 'if-match': `W/${current}` }, { 'if-match': current.slice(1, -1) }, { 'if-match': '""' },
        { 'if-match': '' }, { 'if-match': 'x, "y' }, { 'if-none-match': '*' }, { 'if-none-match': current }, { 'if-none-match': `W/${current}` },
        { 'if-match': current, 'if-none-match': `${stale}, ${current}` }
      ]) {
        const refused = await write({ a: 3 }, condition as Record<string, string>)
        t.strictSame([refused.statusCode, refused.json().code], [412, 'AUTH_CONFLICT'], JSON.stringify(condition))
      }
    }
    t.strictSame([(await get()).json(), tagOf(await get())], [{ data: { a: 2 } }, current], 'and nothing has changed')
    let tag = current
    for (const condition of [(tag: string) => tag, () => '*', (tag: string) => `${stale} , W/"x",${tag}`]) {
      for (const write of [put, patch]) {
        const reply = await write({ a: 3 }, { 'if-match': condition(tag), 'if-none-match': stale })
        t.equal(reply.statusCode, 200, condition(tag))
        tag = tagOf(reply)
      }
    }
    for (const known of [tag, `W/${tag}`, '*', `"x", ${tag}`]) {
      const same = await get({ 'if-none-match': known })
      t.strictSame([same.statusCode, same.body, tagOf(same)], [304, '', tag], known)
    }
    t.equal((await get({ 'if-none-match': stale })).statusCode, 200)
    const other = await own()
    t.equal((await other.put({ a: 1 }, { 'if-match': tag })).statusCode, 412, "of another session's data nothing matches")
    t.equal((await other.put({ a: 1 }, { 'if-match': first })).statusCode, 200, 'before the first write they are all alike')
  })

  t.test('it may have 16 KB, as JSON without white space; also after a patch', async t => {
    const { get, put, patch, send } = await own()
    const filled = (bytes: number) => ({ a: 'x'.repeat(bytes - 8) })
    t.equal((await put(filled(16_384))).statusCode, 200)
    for (const write of [put, patch]) {
      const refused = await write(filled(16_385))
      t.match([refused.statusCode, refused.json()], [413, { code: 'AUTH_TOO_LARGE', statusCode: 413 }])
    }
    const beyond = await patch({ b: 1 })
    t.equal(beyond.json().code, 'AUTH_TOO_LARGE')
    t.strictSame((await get()).json(), { data: filled(16_384) }, 'and nothing has changed')
    t.equal((await patch({ a: null, b: 'é'.repeat(8_188) })).statusCode, 200, 'bytes count, and those before it do not')
    t.equal((await put({ b: 'é'.repeat(8_189) })).statusCode, 413)
    t.equal((await send('PUT', `{${' '.repeat(60_000)}}`)).statusCode, 200)
    t.equal((await send('PUT', `{${' '.repeat(66_000)}}`)).statusCode, 413)
  })

  t.test('what is no JSON object, or would not read back as what it is, is refused', async t => {
    const { get, put, send } = await own()
    await put({ a: 1 })
    const nested = (levels: number) => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`
    const lists = (levels: number) => `{"a":${'['.repeat(levels)}${']'.repeat(levels)}}`
    for (const payload of [
      '[]', '[{}]', '"x"', '1', 'null', 'true', '', '{', '{"a":1}x', nested(33), nested(5_000), lists(32), lists(30_000), '{"a":1e400}',
      '{"a":[{"b":-1e999}]}', '{"__proto__":{"a":1}}', '{"a":{"\\u005f_proto__":1}}', '{"constructor":{"prototype":{}}}', Buffer.from('{"a":"\xe9"}', 'latin1')
    ]) {
      for (const method of ['PUT', 'PATCH'] as const) {
        const refused = await send(method, payload)
        t.strictSame([refused.statusCode, typeof refused.json().code], [400, 'string'], `${method} ${String(payload).slice(0, 40)}`)
      }
    }
    t.strictSame((await get()).json(), { data: { a: 1 } })
    for (const payload of [nested(32), lists(31)]) t.equal((await send('PUT', payload)).body, `{"data":${payload}}`)
  })

  t.test('texts, names and numbers come back as they were sent, as far as JavaScript has them', async t => {
    const { get, send } = await own()
    for (const [sent, kept = sent] of [
      ['{"a":"\\u0000\\u001b\\ud800x\\udfff","\\u0000":"\u{1f511}\\n\\"\\\\"}'], ['{"":{"":[]}}'], ['{"toString":1,"constructor":2,"toJSON":"x","then":3}'],
      ['{"b":1,"a":2}'], ['{"a":1,"a":2}', '{"a":2}'], ['{"b":1,"1":2}', '{"1":2,"b":1}'], ['{"a":1.0,"b":1e2,"c":-0}', '{"a":1,"b":100,"c":0}'],
      ['{"a":9007199254740993}', '{"a":9007199254740992}'], ['{"a":5e-324,"b":1.7976931348623157e+308}']
    ] as Array<[string, string?]>) {
      t.equal((await send('PUT', sent)).body, `{"data":${kept}}`, sent)
      t.equal((await get()).body, `{"data":${kept}}`, sent)
      t.equal((await send('PATCH', '{}')).body, `{"data":${kept}}`, sent)
    }
  })

  t.test('PATCH takes application/merge-patch+json too, PUT JSON alone', async t => {
    const { send } = await own()
    for (const type of ['application/merge-patch+json', 'application/merge-patch+json; charset=utf-8', 'application/json']) {
      t.strictSame((await send('PATCH', '{"a":1}', type)).json(), { data: { a: 1 } }, type)
    }
    t.equal((await send('PATCH', '{"a":"\xe9"}', 'application/merge-patch+json')).statusCode, 200)
    t.equal((await send('PATCH', Buffer.from('{"a":"\xe9"}', 'latin1'), 'application/merge-patch+json')).statusCode, 400)
    t.equal((await send('PUT', '{}', 'application/merge-patch+json')).statusCode, 415)
    for (const type of ['text/plain', 'application/json-patch+json', 'application/x-www-form-urlencoded']) {
      for (const method of ['PUT', 'PATCH'] as const) t.equal((await send(method, '{}', type)).statusCode, 415, `${method} ${type}`)
    }
  })

  t.test('the session alone has it: not another one, not a personal or service token, and by cookie only from an own page', async t => {
    const { token, email } = await one.account()
    await accessTo(one, token).put({ a: 1 })
    const stranger = await own()
    t.strictSame((await stranger.get()).json(), { data: {} })
    for (const other of [await one.personal(token), (await one.serviceTokens.create('orders')).plain.reveal()]) {
      const { get, put, patch } = accessTo(one, other)
      for (const reply of [await get(), await put({ b: 1 }), await patch({ b: 1 })]) {
        t.strictSame([reply.statusCode, reply.json().code], [403, 'AUTH_SESSION_REQUIRED'])
      }
    }
    const cookie = `__Host-latchkey=${token}`
    for (const method of ['PUT', 'PATCH'] as const) {
      const by = (headers: Record<string, string>) => one.call(method, url, { headers: { cookie, ...headers }, body: { b: 1 } })
      for (const site of ['cross-site', 'same-site', 'none']) {
        t.equal((await by({ 'sec-fetch-site': site, origin: 'https://evil.example' })).json().code, 'AUTH_CROSS_SITE', site)
      }
      t.equal((await by({ 'sec-fetch-site': 'same-origin' })).statusCode, 200)
    }
    t.strictSame((await one.call('GET', url, { headers: { cookie, 'sec-fetch-site': 'cross-site' } })).json(), { data: { b: 1 } })
    const later = (await one.login(email)).json<{ accessToken: string }>().accessToken
    t.strictSame((await accessTo(one, later).get()).json(), { data: {} }, 'the next login begins anew')
  })

  t.test('it goes on with the session under new tokens', async t => {
    const registered = (await one.register(undefined, { refresh: true })).json<{ accessToken: string, refreshToken: string }>()
    await accessTo(one, registered.accessToken).put({ a: 1 })
    const refreshed = (await one.call('POST', '/v1/refresh', { body: { refreshToken: registered.refreshToken } })).json<{ accessToken: string }>()
    t.strictSame((await accessTo(one, refreshed.accessToken).get()).json(), { data: { a: 1 } })
  })

  t.test('it is gone with the session: unread, and erased', async t => {
    const ends: Array<[string, (account: Awaited<ReturnType<TestApp['account']>>) => Promise<unknown>]> = [
      ['logout', ({ token }) => one.logout(token)],
      ['logout-all', ({ token }) => one.call('POST', '/v1/logout-all', { token })],
      ['a later login', ({ email }) => one.login(email)],
      ['ending the session', ({ token, sessionId }) => one.call('DELETE', `/v1/sessions/${sessionId}`, { token })],
      ['an administrator', ({ userId }) => one.admin.revoke(operator, userId, { personalTokens: false })],
      ['disabling the user', ({ userId }) => one.admin.disable(operator, userId)]
    ]
    for (const [name, end] of ends) {
      const account = await one.account()
      const { get, put } = accessTo(one, account.token)
      await put({ secret: 'of the session' })
      const principal = await one.tokens.authenticate(account.token) as Principal
      t.ok(await cached(one, get), name)
      await end(account)
      t.equal((await get()).statusCode, 401, name)
      await t.rejects(one.sessionData.read(principal), InvalidTokenError, `${name}: who still holds its principal reads nothing`)
      await t.rejects(one.sessionData.merge(principal, { a: 1 }), InvalidTokenError, name)
      const [row] = await one.database.prepared<{ data: string }>('select data from session_data where session_id = $1', [account.sessionId])
      t.equal(row?.data, '{}', name)
    }
  })

  t.test('its row goes with the account, and with the session when that is pruned', async t => {
    const rows = async (sessionId: string) =>
      (await one.database.prepared('select 1 from session_data where session_id = $1', [sessionId])).length
    const leaver = await one.account()
    await accessTo(one, leaver.token).put({ a: 1 })
    t.equal(await rows(leaver.sessionId), 1)
    t.equal((await one.call('DELETE', '/v1/me', { token: leaver.token })).statusCode, 204)
    t.equal(await rows(leaver.sessionId), 0)

    const { token, sessionId } = await one.account()
    await accessTo(one, token).put({ a: 1 })
    await one.database.prepared("update sessions set expires_at = now() - interval '60 days' where id = $1", [sessionId])
    await one.database.prepared("update tokens set expires_at = now() - interval '60 days' where session_id = $1", [sessionId])
    await one.prune({ dryRun: false })
    t.equal(await rows(sessionId), 0)
  })
})

onEachGround(t, async (t, ground) => {
  t.test('SESSION_DATA_LIMIT bounds the writes of a session, refused ones too, and no reads', async t => {
    const one = await startApp(t, ground, { env: { SESSION_DATA_LIMIT: '3/1m' } })
    const { get, put, patch } = accessTo(one, (await one.account()).token)
    t.strictSame([await put({ a: 1 }), await patch({ b: 1 }), await put({}, { 'if-match': '"x"' })].map(reply => reply.statusCode), [200, 200, 412])
    const refused = await patch({ c: 1 })
    t.match([refused.statusCode, refused.json().code, refused.headers['retry-after']], [429, 'AUTH_RATE_LIMITED', /^[1-9]\d*$/])
    t.strictSame((await get()).json(), { data: { a: 1, b: 1 } })
    t.equal((await accessTo(one, (await one.account()).token).put({})).statusCode, 200, 'each session for itself')
  })

  t.test('it is not read beyond the end of the session, by whomever', async t => {
    const one = await startApp(t, ground, { env: { SESSION_TTL: '2m', TOKEN_TTL: '2m' } })
    const { token, sessionId } = await one.account()
    const { get, put } = accessTo(one, token)
    await put({ a: 1 })
    const principal = await one.tokens.authenticate(token) as Principal
    t.ok(await cached(one, get))
    if (one.redis !== null) {
      const ttl = await one.redis.pttl(`${ground.prefix}token:${sessionDataHash(sessionId).hex()}`)
      t.ok(ttl > 0 && ttl <= 120_000, `${ttl}`)
    }
    await one.pass(121_000)
    t.equal((await get()).statusCode, 401)
    await t.rejects(one.sessionData.read(principal), InvalidTokenError)
  })

  t.test('nor beyond SESSION_IDLE_TTL, also where an instance without it has filled the cache', async t => {
    const [one, idle] = [await startApp(t, ground), await startApp(t, ground, { env: { SESSION_IDLE_TTL: '1h' } })]
    const { token } = await one.account()
    await accessTo(one, token).put({ a: 1 })
    const principal = await one.tokens.authenticate(token) as Principal
    t.ok(await cached(one, () => one.sessionData.read(principal), 1))
    const refused = async () => {
      await idle.database.prepared("update sessions set last_used_at = now() - interval '2 hours'", [])
      return await idle.sessionData.read(principal).then(() => false, error => error instanceof InvalidTokenError)
    }
    if (ground.databaseUrl !== null) t.ok(await becomesTrue(refused, patienceMs))
    const { token: used } = await idle.account()
    await accessTo(idle, used).put({ a: 1 })
    const held = await idle.tokens.authenticate(used) as Principal
    t.ok(await cached(idle, () => idle.sessionData.read(held), 1))
    await idle.pass(2 * 3_600_000)
    await t.rejects(idle.sessionData.read(held), InvalidTokenError)
  })
})

t.test('what Redis holds of it stands under no id, and is an entry of ours', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const one = await startApp(t, ground)
  const redis = new Redis(ground.redisUrl as string)
  t.teardown(() => redis.disconnect())
  const { token, sessionId } = await one.account()
  const { get, put } = accessTo(one, token)
  await put({ a: 1 })
  t.ok(await cached(one, get))
  const keys = await redis.keys(`${ground.prefix}token:*`)
  t.notOk(keys.some(key => key.includes(sessionId)))
  const text = await redis.get(`${ground.prefix}token:${sessionDataHash(sessionId).hex()}`)
  t.match(text, /^V\d+\|\{"expiresAtMs":\d+,"version":"[0-9a-f-]{36}","text":"\{\\"a\\":1\}"\}$/)
})
