import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { operator } from '../../src/admin/service.js'
import type { Guard } from '../../src/tokens/authenticate.js'
import { challengeOf, enrol } from '../factors/phone.js'
import { embeddedGround, startApp } from '../fixtures/app.js'

/** Calls every route as every kind of caller, from the route table: a new route without a declared guard fails here. */

interface Route { method: string, url: string, guard: Guard | undefined }

const routes: Route[] = []
const watch = (message: unknown) => {
  (message as { fastify: FastifyInstance }).fastify.addHook('onRoute', ({ method, url, config }) => {
    for (const name of [method].flat()) routes.push({ method: name, url, guard: config?.guard })
  })
}
subscribe('fastify.initialization', watch)
const one = await startApp(t, await embeddedGround())
unsubscribe('fastify.initialization', watch)

/** Routes that packages add for the documentation pages, for files and for preflights. */
const others = /^OPTIONS |^(GET|HEAD) (\/docs(\/.*)?|\/openapi\.json|\/pages\/assets\/.*)$/
const declared = routes.filter(({ method, url }) => !others.test(`${method} ${url}`))
const own = declared.filter(({ method }) => method !== 'HEAD')
const undeclared = (some: Route[]) => some.filter(({ guard }) => guard === undefined).map(({ method, url }) => `${method} ${url}`)

const account = () => one.account()
async function administrator () {
  const made = await account()
  await one.admin.setRole(operator, made.userId, 'admin')
  return made
}
async function personalOf ({ token }: { token: string }) {
  return (await one.call('POST', '/v1/tokens', { token, body: { name: 'script' } })).json<{ accessToken: string }>().accessToken
}

/** Made anew for each call, because some of the routes end the access of their caller. */
const callers: Record<string, () => Promise<string | undefined>> = {
  'no token': async () => undefined,
  'a made-up token': async () => `lk_${'A'.repeat(50)}`,
  'no token at all in its header': async () => 'nonsense',
  'a session that has ended': async () => {
    const { token } = await account()
    await one.logout(token)
    return token
  },
  "a disabled user's personal token": async () => {
    const made = await account()
    const token = await personalOf(made)
    await one.admin.disable(operator, made.userId)
    return token
  },
  'a refresh token': async () =>
    (await one.call(
      'POST',
      '/v1/login',
      { body: { ...await credentials(), refresh: true } }
    )).json<{ refreshToken: string }>().refreshToken,
  'the challenge of a login that waits for its second factor': async () => challengeOf(one, (await enrol(one)).email),
  'a user at a session': async () => (await account()).token,
  "an administrator's personal token": async () => personalOf(await administrator()),
  "an administrator's session without abilities": async () => {
    const { email } = await administrator()
    return (await one.login(email, { abilities: ['orders:read'] })).json<{ accessToken: string }>().accessToken
  },
  'an administrator at a session': async () => (await administrator()).token
}

async function credentials () {
  const { email } = await account()
  return { email, password: 'correct horse battery staple' }
}

const lacking = '403 AUTH_INSUFFICIENT_ABILITY'
const missing = '401 AUTH_MISSING_TOKEN'
const invalid = '401 AUTH_INVALID_TOKEN'
const nobody = {
  'no token': missing,
  'a made-up token': invalid,
  'no token at all in its header': invalid,
  'a session that has ended': invalid,
  "a disabled user's personal token": invalid,
  'a refresh token': invalid,
  'the challenge of a login that waits for its second factor': invalid
}

/** What each guard answers; a caller not listed here passes. */
const answers: Record<Exclude<Guard, 'anyone' | 'client'>, Record<string, string>> = {
  token: nobody,
  session: { ...nobody, "an administrator's personal token": '403 AUTH_SESSION_REQUIRED' },
  admin: {
    ...nobody,
    "an administrator's personal token": '403 AUTH_SESSION_REQUIRED',
    'a user at a session': '403 AUTH_FORBIDDEN',
    "an administrator's session without abilities": lacking
  }
}
/** Routes that change or delete the account need a token with the ability `account`. */
const changesAccount = new Set([
  'PATCH /v1/me', 'DELETE /v1/me', 'POST /v1/totp', 'POST /v1/totp/confirm', 'DELETE /v1/totp', 'POST /v1/recovery-codes'
])
/** Its 401s have no body, and so no code. */
const hasBare401 = (name: string) => name === 'GET /v1/forward-auth'
const refusals = new Set(['401', missing, invalid, '403 AUTH_SESSION_REQUIRED', '403 AUTH_FORBIDDEN', lacking])

async function answer ({ method, url }: Route, token: string | undefined, unreadable = false): Promise<string> {
  const { userId } = await account()
  const reply = await one.app.inject({
    method: method as 'GET',
    url: url.replace(/:\w+/g, userId),
    headers: { ...token === undefined ? {} : { authorization: `Bearer ${token}` }, ...unreadable ? { 'content-type': 'text/plain' } : {} },
    ...unreadable ? { payload: 'x' } : {}
  })
  const isJson = reply.body !== '' && reply.headers['content-type']?.toString().startsWith('application/json') === true
  const { code = '' } = isJson && reply.statusCode >= 400
    ? reply.json<{ code: string }>()
    : {}
  return `${reply.statusCode} ${code}`.trim()
}

/** The status of the same request with HEAD, whose reply has no body. */
async function head (route: Route, token: string | undefined): Promise<string> {
  return (await answer({ ...route, method: 'HEAD' }, token)).slice(0, 3)
}

t.test('every route declares who may call it', async t => {
  t.ok(own.length >= 28, `${own.length} routes`)
  t.same(undeclared(own), [])
  t.same(undeclared([{ method: 'GET', url: '/v1/new', guard: undefined }]), ['GET /v1/new'], 'a new route without one would be noticed')
  t.same(
    own.filter(({ url, guard }) => url.startsWith('/v1/admin/') !== (guard === 'admin')).map(({ url, guard }) => [url, guard]),
    [['/v1/admin/setup', 'anyone']],
    'administrators alone have the routes below /v1/admin, but for the one that makes the first of them'
  )
  t.same([...new Set(own.map(({ guard }) => guard))].sort(), ['admin', 'anyone', 'client', 'session', 'token'])
  t.same(
    own.filter(({ guard }) => guard === 'client').map(({ url }) => url).sort(),
    ['/oauth/introspect', '/oauth/revoke', '/oauth/token', '/v1/introspections'],
    'by OAuth: see test/oauth'
  )
})

t.test('HEAD is there wherever GET is, for the same callers (RFC 9110 9.1)', async t => {
  const guardsOf = (wanted: string) => declared.filter(({ method }) => method === wanted).map(({ url, guard }) => `${url} ${guard}`).sort()
  t.ok(guardsOf('GET').length >= 14)
  t.same(guardsOf('HEAD'), guardsOf('GET'))
})

t.test('OpenAPI agrees: every route that needs a token declares its security and its 401', async t => {
  const { paths } = (await one.call('GET', '/openapi.json')).json<{
    paths: Record<string, Record<string, { security?: object[], responses: Record<string, unknown> }>>
  }>()
  for (const { method, url, guard } of own) {
    const operation = paths[url.replace(/:(\w+)/g, '{$1}')]?.[method.toLowerCase()]
    const security = operation?.security ?? []
    t.ok(
      guard === 'anyone' ? security.length === 0 || security.some(scheme => Object.keys(scheme).length === 0) : security.length > 0,
      `${method} ${url}`
    )
    if (guard !== 'anyone') t.ok(operation?.responses[401], `${method} ${url} 401`)
    if (guard === 'session' || guard === 'admin') t.ok(operation?.responses[403], `${method} ${url} 403`)
  }
})

t.test('who must have a second factor, and has none, may only enrol and leave', async t => {
  const strict = await startApp(t, await embeddedGround(), { env: { SECOND_FACTOR: 'everyone' } })
  const open: string[] = []
  for (const { method, url, guard } of own.filter(({ guard }) => guard === 'token' || guard === 'session' || guard === 'admin')) {
    const { token, userId } = await strict.account()
    if (guard === 'admin') await strict.admin.setRole(operator, userId, 'admin')
    const reply = await strict.call(method as 'GET', url.replace(/:\w+/g, userId), { token })
    const isOwed = reply.statusCode === 403 && reply.json<{ code: string }>().code === 'AUTH_SECOND_FACTOR_ENROLMENT'
    if (!isOwed) open.push(`${method} ${url}`)
  }
  t.same(open.sort(), ['GET /v1/factors', 'POST /v1/logout', 'POST /v1/logout-all', 'POST /v1/totp', 'POST /v1/totp/confirm'])
})

for (const route of own) {
  if (route.guard === 'client') continue
  const name = `${route.method} ${route.url}`
  if (route.guard === 'anyone' || route.guard === undefined) {
    t.test(`${name} answers everybody alike`, async t => {
      const alike = await answer(route, undefined)
      for (const [caller, token] of Object.entries(callers)) {
        const given = await token()
        t.equal(await answer(route, given), alike, caller)
        if (route.method === 'GET') t.equal(await head(route, given), alike.slice(0, 3), `HEAD by ${caller}`)
      }
    })
    continue
  }
  const expected: Record<string, string> = {
    ...answers[route.guard],
    ...changesAccount.has(name) ? { "an administrator's session without abilities": lacking } : {}
  }
  t.test(`${name} is for: ${route.guard}`, async t => {
    for (const [caller, token] of Object.entries(callers)) {
      const refusal = hasBare401(name) ? expected[caller]?.replace(/^401 .*/, '401') : expected[caller]
      const given = await token()
      const got = await answer(route, given)
      if (refusal === undefined) t.notOk(refusals.has(got) || got.startsWith('5'), `${caller} passes: ${got}`)
      else t.equal(got, refusal, caller)
      if (route.method === 'GET') t.equal(await head(route, given), got.slice(0, 3), `HEAD by ${caller}`)
      if (refusal !== undefined &&
        given !== undefined &&
        route.method !== 'GET') t.equal(await answer(route, given, true), refusal, `${caller}, before the body is read`)
    }
  })
}

t.test('a session writes so often at most, whichever route it writes by, and can still log out', async t => {
  const strict = await startApp(t, await embeddedGround(), { env: { WRITE_LIMIT: '1/1m', SESSION_DATA_LIMIT: '1/1m' } })
  const writes = own.filter(({ method, url, guard }) => guard === 'session' && method !== 'GET' && !/^\/v1\/logout(-all)?$/.test(url))
  t.ok(writes.length >= 10, `${writes.length} routes`)
  for (const { method, url } of writes) {
    const [{ token }, other] = [await strict.account(), await strict.account()]
    const write = (by: string) => strict.call(method as 'PUT', url.replace(/:\w+/g, other.userId), {
      token: by, ...method === 'POST' || method === 'DELETE' ? {} : { body: {} }
    })
    const first = url === '/v1/session/data'
      ? write(token)
      : strict.call('PATCH', '/v1/me', { token, body: { name: 'Ada' } })
    t.equal((await first).statusCode, 200)
    const refused = await write(token)
    t.match([refused.statusCode, refused.json().code, refused.headers['retry-after']], [429, 'AUTH_RATE_LIMITED', /^[1-9]\d*$/], `${method} ${url}`)
    t.equal((await strict.me(token)).statusCode, 200, 'reads go on')
    t.not((await write(other.token)).statusCode, 429, 'and so do other sessions')
    t.equal((await strict.logout(token)).statusCode, 204)
  }
})
