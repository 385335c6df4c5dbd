import t from 'tap'
import { createNextVerifier, type NextVerifierOptions } from '../../clients/js/src/next.js'
import { embeddedGround, startApp } from '../fixtures/app.js'
import { serve, service, token } from '../verifier/scene.js'

const publicUrl = 'https://app.example'
const navigation = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', accept: 'text/html' }

const redirectOf = (reply: Response | undefined) => [reply?.status, reply?.headers.get('location'), reply?.headers.get('cache-control')]

t.test('proxy lets those pass who may, sends navigations to the sign-in page, and answers the rest as Latchkey does', async t => {
  const one = await startApp(t, await embeddedGround())
  const url = await one.app.listen({ host: '127.0.0.1', port: 0 })
  const { plain } = await one.serviceTokens.create('orders')
  const next = createNextVerifier({ url, token: plain.reveal(), publicUrl })
  const { token: live } = await one.account({ abilities: ['orders:read'] })
  const ask = (headers: Record<string, string>, { method = 'GET', ability }: { method?: string, ability?: string } = {}) =>
    next.proxy(new Request('https://app.example/orders?page=2', { method, headers }), { ability })

  const cookie = `__Host-latchkey=${live}`
  t.equal(await ask({ cookie, ...navigation }), undefined)
  t.equal(await ask({ authorization: `Bearer ${live}` }, { method: 'POST', ability: 'orders:read' }), undefined)
  t.equal(await ask({ cookie, 'sec-fetch-site': 'same-origin' }, { method: 'POST' }), undefined)

  const signIn = `${publicUrl}/account?return_to=${encodeURIComponent('https://app.example/orders?page=2')}`
  t.strictSame(redirectOf(await ask(navigation)), [302, signIn, 'no-store'])
  t.strictSame(redirectOf(await ask({ ...navigation, cookie: `${cookie}; ${cookie}` })), [302, signIn, 'no-store'])
  t.strictSame(redirectOf(await ask({ accept: 'text/html' })), [302, signIn, 'no-store'], 'a browser that says nothing more')

  for (const [headers, options, status, code] of [
    [{ accept: '*/*' }, {}, 401, 'AUTH_MISSING_TOKEN'],
    [{ ...navigation, 'sec-fetch-mode': 'cors', rsc: '1' }, {}, 401, 'AUTH_MISSING_TOKEN'],
    [{ ...navigation, 'sec-fetch-dest': 'iframe' }, {}, 401, 'AUTH_MISSING_TOKEN'],
    [navigation, { method: 'POST' }, 401, 'AUTH_MISSING_TOKEN'],
    [{ authorization: 'Bearer lk_no' }, {}, 401, 'AUTH_INVALID_TOKEN'],
    [{ cookie, ...navigation }, { ability: 'orders:write' }, 403, 'AUTH_INSUFFICIENT_ABILITY'],
    [{ cookie, ...navigation, origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }, { method: 'POST' }, 403, 'AUTH_CROSS_SITE']
  ] as const) {
    const reply = await ask(headers, options)
    t.match([reply?.status, await reply?.json()], [status, { statusCode: status, code }])
  }

  await one.logout(live)
  t.strictSame(redirectOf(await ask({ cookie, ...navigation })), [302, signIn, 'no-store'], 'at once')
  await one.close()
  const away = await ask({ cookie, ...navigation })
  t.match([away?.status, away?.headers.get('retry-after'), await away?.json()], [503, '1', { code: 'AUTH_UNAVAILABLE' }], 'nobody is signed out by that')
})

t.test('a route handler is called for those who may, with whose request it is', async t => {
  const { url } = await serve(t, (_request, response, body) => {
    const [asked] = (JSON.parse(body) as { tokens: string[] }).tokens
    response.end(JSON.stringify({
      results: [asked === token(1) ? { active: true, sub: 'ada', scope: 'orders:read', iat: 1 } : { active: false }]
    }))
  })
  const next = createNextVerifier({ url, token: service })
  const called: unknown[] = []
  const GET = next.handler(async (request, principal, context: { params: Promise<{ id: string }> }) => {
    called.push([request.url, principal.user.id, (await context.params).id])
    return Response.json({ owner: principal.user.id })
  }, { ability: 'orders:read' })
  const ask = (bearer: string) => GET(new Request('https://app.example/orders/7', { headers: { authorization: `Bearer ${bearer}` } }), { params: Promise.resolve({ id: '7' }) })

  t.strictSame(await (await ask(token(1))).json(), { owner: 'ada' })
  t.strictSame(called, [['https://app.example/orders/7', 'ada', '7']])
  t.match(await (await ask(token(2))).json(), { statusCode: 401, code: 'AUTH_INVALID_TOKEN' })
  t.equal(called.length, 1)
  t.throws(() => next.handler(() => new Response(), { ability: '"' }), TypeError, 'when it is made')
})

t.test('the way back is to the address that the browser knows', async t => {
  const at = async (options: Partial<NextVerifierOptions>, url: string, headers: Record<string, string> = {}) => {
    const next = createNextVerifier({ url: 'https://auth.example', token: service, publicUrl, ...options })
    return (await next.proxy(new Request(url, { headers: { ...navigation, ...headers } })))?.headers.get('location')
  }
  const back = (page: string, to: string) => `${page}?return_to=${encodeURIComponent(to)}`
  const account = `${publicUrl}/account`
  const inside = 'http://localhost:3000/a/b?c=d'
  t.equal(await at({}, inside), back(account, inside))
  t.equal(await at({}, inside, { host: 'app.example' }), back(account, 'http://app.example/a/b?c=d'))
  const forwarded = { host: 'inside:8080', 'x-forwarded-host': 'app.example, other', 'x-forwarded-proto': 'https' }
  t.equal(await at({}, inside, forwarded), back(account, 'https://app.example/a/b?c=d'))
  t.equal(await at({ appOrigin: 'https://shop.example' }, inside, forwarded), back(account, 'https://shop.example/a/b?c=d'))
  t.equal(await at({ signIn: '/login' }, inside, forwarded), back('https://app.example/login', 'https://app.example/a/b?c=d'))
  t.equal(await at({ signIn: 'https://sso.example/in' }, inside), back('https://sso.example/in', inside))
  t.equal(await at({}, 'http://localhost:3000//evil.example/'), back(account, 'http://localhost:3000//evil.example/'), 'a path of this host')
  t.equal(await at({}, `http://localhost:3000/?${'x'.repeat(5_000)}`), account, 'too long for a header')
  for (const made of [{ 'x-forwarded-host': 'a b' }, { host: 'x', 'x-forwarded-proto': 'javascript' }, { 'x-forwarded-host': '' }]) {
    t.equal(await at({}, inside, made), back(account, inside), JSON.stringify(made))
  }
  t.equal(await at({ publicUrl: undefined }, inside), null, 'no page is known: a 401')
})

t.test('the sign-in page for a server component', async t => {
  const pageFor = (options: Partial<NextVerifierOptions>, from?: string) =>
    createNextVerifier({ url: 'https://auth.example', token: service, ...options }).signInUrl(from)
  t.equal(pageFor({}), null)
  t.equal(pageFor({ publicUrl }), 'https://app.example/account')
  t.equal(pageFor({ publicUrl }, '/orders?a=b'), 'https://app.example/account?return_to=%2Forders%3Fa%3Db')
  t.equal(pageFor({ publicUrl, appOrigin: 'https://shop.example' }, '/x'), 'https://app.example/account?return_to=https%3A%2F%2Fshop.example%2Fx')
  t.equal(pageFor({ signIn: '/login?from=shop' }, '/x'), '/login?from=shop&return_to=%2Fx')
  for (const bad of ['', '//evil.example', 'login', 'javascript:alert(1)']) t.throws(() => pageFor({ signIn: bad }), TypeError, bad)
  t.throws(() => pageFor({ appOrigin: 'shop.example' }), { message: /^appOrigin must/ })
})

t.test('options may come with the first request: a build has no secrets', async t => {
  const { url } = await serve(t, (_request, response) => { response.end('{"results":[{"active":false}]}') })
  let calls = 0
  const next = createNextVerifier(() => {
    calls++
    return { url, token: service, publicUrl }
  })
  const handler = next.handler(() => new Response())
  t.equal(calls, 0)
  t.equal(await next.verify(token(1)), null)
  t.match(await next.admit(token(1)), { status: 401 })
  t.match(await handler(new Request('https://app.example/', { headers: { authorization: `Bearer ${token(1)}` } }), {}), { status: 401 })
  t.equal(next.signInUrl(), `${publicUrl}/account`)
  t.equal(calls, 1)
  const broken = createNextVerifier(() => ({ url: '', token: '' }))
  await t.rejects(broken.verify(token(1)), TypeError)
  await t.rejects(broken.proxy(new Request('https://app.example/')), TypeError)
})
