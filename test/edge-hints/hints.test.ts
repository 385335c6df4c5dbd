import { hash } from 'node:crypto'
import t from 'tap'
import { createEdgeVerifier, UnavailableError } from '../../clients/js/src/edge.js'
import { runCommand } from '../../src/commands/index.js'
import { becomesTrue, type Ground, onEachGround, password, patienceMs, serverGround, startApp, type TestApp } from '../fixtures/app.js'
import { freePort } from '../fixtures/servers.js'
import { startUpstash, type Upstash } from '../fixtures/upstash.js'

/** The server's hints, read by an edge: real instances, and Upstash's REST over a real Redis. */

const hexOf = (token: string) => hash('sha256', token)
const environmentOf = ({ url, tokens }: Upstash) => ({ UPSTASH_REDIS_REST_URL: `${url}/`, UPSTASH_REDIS_REST_TOKEN: tokens.write })

/** An edge that asks `one`, and how often it did. */
async function startEdge (one: TestApp, upstash: Upstash, ground: Ground) {
  const url = one.app.server.listening ? `http://127.0.0.1:${(one.app.server.address() as { port: number }).port}` : await one.app.listen({ host: '127.0.0.1', port: 0 })
  const { plain } = await one.serviceTokens.create('edge')
  let introspections = 0
  const counted: typeof fetch = (...args) => {
    introspections++
    return fetch(...args)
  }
  const options = { url, token: plain.reveal(), fetch: counted }
  const hints = { url: upstash.url, token: upstash.tokens.read, keyPrefix: ground.prefix, timeoutMs: patienceMs }
  const edge = createEdgeVerifier({ ...options, upstash: hints })
  const keyOf = (token: string) => `${ground.prefix}hint:${hexOf(token)}`
  const says = (token: string, pattern: RegExp) => becomesTrue(async () => pattern.test(await upstash.client.get(keyOf(token)) ?? 'nothing'), patienceMs)
  return {
    edge,
    options,
    hints,
    keyOf,
    says,
    introspections: () => introspections,
    /** Has the edge ask until there is a hint for this token. */
    hinted: (token: string) => becomesTrue(async () => {
      await edge.verify(token)
      return (await upstash.client.get(keyOf(token)))?.startsWith('{') === true
    }, patienceMs)
  }
}

onEachGround(t, async (t, ground) => {
  const upstash = await startUpstash(t)
  if (upstash === null) return
  const one = await startApp(t, ground, { env: environmentOf(upstash) })
  const { edge, options, hints, hinted, says, keyOf, introspections } = await startEdge(one, upstash, ground)

  t.test('a hint answers as introspection does, without asking', async t => {
    const { token } = await one.account({ abilities: ['orders:read'] })
    const asked = await createEdgeVerifier(options).verify(token)
    const personal = await one.personal((await one.account()).token)
    for (const live of [token, personal]) t.ok(await hinted(live))
    const before = introspections()
    t.strictSame(await edge.verify(token), asked)
    t.match(await edge.verify(personal), { session: null, expiresAtMs: Number.MAX_SAFE_INTEGER })
    t.match(await edge.admit({ cookie: `__Host-latchkey=${personal}` }), { status: 401 }, 'a cookie carries no personal token')
    t.match(await edge.admit(token, { ability: 'orders:write' }), { status: 403 })
    t.equal(introspections(), before)
  })

  t.test('neither keys nor values hold the token, and they are over after EDGE_TTL', async t => {
    const { token, userId, sessionId } = await one.account()
    t.ok(await hinted(token))
    const value = await upstash.client.get(keyOf(token)) ?? ''
    const ttl = await upstash.client.pttl(keyOf(token))
    t.ok(ttl > 0 && ttl <= 30_000, `${ttl} ms`)
    const { until, ...rest } = JSON.parse(value)
    t.ok(Math.abs(until - one.clock.now()) <= 30_000)
    t.match(rest, { hash: hexOf(token), answer: { active: true, sub: userId, sid: sessionId, email_verified: false } })
    t.strictSame(Object.keys(rest), ['hash', 'answer'])
    t.notMatch(value, /@/, 'no address that nobody has proved')
    t.notMatch(JSON.stringify(upstash.requests), token.slice(3))
    t.ok(upstash.requests.every(({ path, commands }) => path === '/' ? commands[0]?.[0] === 'mget' : path === '/pipeline'))
  })

  const ways: Array<[name: string, end: (account: Awaited<ReturnType<TestApp['account']>>) => Promise<unknown>]> = [
    ['logout', ({ token }) => one.logout(token)],
    ['logout of all sessions', ({ token }) => one.call('POST', '/v1/logout-all', { token })],
    ['a login that replaces it', ({ email }) => one.login(email)],
    ['a password change', ({ token }) => one.call('PUT', '/v1/password', { token, body: { currentPassword: password, newPassword: `${password}!` } })],
    ['ending its session', ({ token, sessionId }) => one.call('DELETE', `/v1/sessions/${sessionId}`, { token })],
    ['deleting the account', ({ token }) => one.call('DELETE', '/v1/me', { token, body: { password } })],
    ['OAuth revocation', ({ token }) => one.call('POST', '/oauth/revoke', {
      headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: new URLSearchParams({ token }).toString()
    })]
  ]
  for (const [name, end] of ways) {
    t.test(`${name}: the hint says that the token has ended`, async t => {
      const account = await one.account()
      t.ok(await hinted(account.token))
      t.ok(await edge.verify(account.token))
      await end(account)
      t.equal((await one.me(account.token)).statusCode, 401)
      t.ok(await says(account.token, /^ended$/))
      const before = introspections()
      t.equal(await edge.verify(account.token), null)
      t.equal(introspections(), before)
    })
  }

  t.test('so it does when a personal token is ended', async t => {
    const owner = await one.account()
    const { accessToken, token: { id } } = (await one.call('POST', '/v1/tokens', { token: owner.token, body: { name: 'x' } })).json()
    t.ok(await hinted(accessToken))
    await one.call('DELETE', `/v1/tokens/${id}`, { token: owner.token })
    t.ok(await says(accessToken, /^ended$/))
    t.equal(await edge.verify(accessToken), null)
  })

  t.test('what has changed is asked for', async t => {
    const { email, token } = await one.account()
    t.ok(await hinted(token))
    await runCommand(one, 'users:promote', ['--email', email])
    t.ok(await says(token, /^ask$/))
    const before = introspections()
    t.ok(await edge.verify(token))
    t.equal(introspections(), before + 1)
  })

  t.test('what an operator ends, and users who are disabled, which may be undone, are asked about', async t => {
    for (const [name, ...args] of [['tokens:revoke', '--yes'], ['users:disable']] as const) {
      const { email, token } = await one.account()
      t.ok(await hinted(token))
      t.match(await runCommand(one, name, ['--email', email, ...args]), { exitCode: 0 })
      t.ok(await says(token, /^(ask|ended)$/), name)
      t.equal(await edge.verify(token), null)
    }
  })

  t.test('session data has no hints', async t => {
    const { token } = await one.account()
    const before = upstash.requests.length
    t.equal((await one.call('PUT', '/v1/session/data', { token, body: { cart: [1] } })).statusCode, 200)
    t.ok(await hinted(token))
    t.notMatch(JSON.stringify(upstash.requests.slice(before)), /"ask"/)
  })

  t.test('the numbers are counted for operators', async t => {
    t.match(one.counters.hints, { failed: 0, lost: 0 })
    t.ok(one.counters.hints.written > 10)
    t.match(await one.metrics.metrics(), /latchkey_edge_hints_total\{outcome="written"\} \d+/)
    t.notMatch(one.log.join(''), /Upstash|hints/, 'nothing was logged')
  })

  t.test('after more revocations than are named, edges ask for every token', async t => {
    const { token } = await one.account()
    t.ok(await hinted(token))
    await runCommand(one, 'tokens:revoke', ['--all', '--yes'])
    t.ok(await becomesTrue(async () => await upstash.client.exists(`${ground.prefix}hints:pause`) === 1, patienceMs))
    const before = introspections()
    t.equal(await edge.verify(token), null)
    t.equal(introspections(), before + 1)
    const ttl = await upstash.client.pttl(`${ground.prefix}hints:pause`)
    t.ok(ttl > 0 && ttl <= 40_000, 'no longer than older hints may last')
    await upstash.client.flushall()
  })

  t.test('while Latchkey is away hints still answer, and without one nobody can say, unless the edge remembers', async t => {
    const forgetful = createEdgeVerifier({ ...options, upstash: hints })
    const remembering = createEdgeVerifier({ ...options, upstash: hints, memorySeconds: 30 })
    const [{ token: known }, { token: remembered }, { token: dead }] = [await one.account(), await one.account(), await one.account()]
    t.ok(await hinted(known))
    t.ok(await remembering.verify(remembered))
    t.ok(await remembering.verify(dead))
    await one.logout(dead)
    t.ok(await says(dead, /^ended$/))
    t.equal(await remembering.verify(dead), null)
    await one.close()

    t.ok(await forgetful.verify(known))
    await upstash.client.flushall()
    for (const token of [known, remembered, dead]) await t.rejects(forgetful.verify(token), UnavailableError)
    t.ok(await remembering.verify(remembered))
    await t.rejects(remembering.verify(known), UnavailableError)
    await t.rejects(remembering.verify(dead), UnavailableError, 'not what was true before')
  })
})

t.test('a hint that was written late does not take the place of the one that says that the token has ended', async t => {
  const [upstash, ground] = [await startUpstash(t), await serverGround(t)]
  if (upstash === null || ground === null) return
  const [one, two] = [await startApp(t, ground, { env: environmentOf(upstash) }), await startApp(t, ground, { env: environmentOf(upstash) })]
  const { edge, says, introspections } = await startEdge(one, upstash, ground)
  const { token } = await one.account()

  let open = () => {}
  const opened = new Promise<void>(resolve => { open = resolve })
  const arrived = new Promise<void>(resolve => {
    upstash.breakBy(async ({ path }) => {
      if (path !== '/pipeline') return false
      upstash.breakBy(null)
      resolve()
      await opened
      return false
    })
  })
  t.ok(await edge.verify(token), 'found live')
  await arrived
  await two.logout(token)
  t.ok(await says(token, /^ended$/), 'its revocation overtakes that')
  open()
  t.ok(await becomesTrue(() => one.counters.hints.kept === 1, patienceMs))
  const before = introspections()
  t.equal(await edge.verify(token), null)
  t.equal(introspections(), before)
})

t.test('a revocation waits for no hint, and closing not for long', async t => {
  const [upstash, ground] = [await startUpstash(t), await serverGround(t)]
  if (upstash === null || ground === null) return
  const one = await startApp(t, ground, { env: environmentOf(upstash) })
  let silent = 0
  upstash.breakBy(() => { silent++; return true })
  const { token } = await one.account()
  t.equal((await one.logout(token)).statusCode, 204)
  t.equal((await one.me(token)).statusCode, 401)
  t.ok(await becomesTrue(() => silent > 0, patienceMs))
  await one.close()
  const asked = silent
  t.ok(await becomesTrue(() => one.counters.hints.lost > 0, patienceMs), 'which is counted')
  await one.clock.sleep(1_200)
  t.equal(silent, asked, 'and nothing is sent after it')
})

t.test('with Upstash away, refusing, or for reading alone, the server serves, says so once, and writes again when it is back', async t => {
  const [upstash, ground] = [await startUpstash(t), await serverGround(t)]
  if (upstash === null || ground === null) return
  for (const [what, env, cause] of [
    ['a wrong token', { UPSTASH_REDIS_REST_TOKEN: 'wrong' }, 'refused: WRONGPASS'],
    ['a token that may only read', { UPSTASH_REDIS_REST_TOKEN: upstash.tokens.read }, 'NOPERM'],
    ['an address where nobody listens', { UPSTASH_REDIS_REST_URL: `http://127.0.0.1:${await freePort()}` }, 'ECONNREFUSED']
  ] as const) {
    const one = await startApp(t, ground, { env: { ...environmentOf(upstash), ...env } })
    const { token } = await one.account()
    t.equal((await one.logout(token)).statusCode, 204)
    t.ok(await becomesTrue(() => one.counters.hints.failed > 1, patienceMs), 'tried again')
    const said = one.log.filter(line => line.includes('hints for edges cannot be written'))
    t.equal(said.length, 1, what)
    t.match(JSON.parse(said[0] ?? ''), { cause })
    await one.close()
    t.notMatch(one.log.join(''), hexOf(token))
  }

  const one = await startApp(t, ground, { env: environmentOf(upstash) })
  const { says } = await startEdge(one, upstash, ground)
  await upstash.stop()
  const { token } = await one.account()
  await one.logout(token)
  t.ok(await becomesTrue(() => one.counters.hints.failed > 0, patienceMs))
  await upstash.restart()
  t.ok(await says(token, /^ended$/))
  t.ok(await becomesTrue(() => one.log.some(line => line.includes('hints for edges are written again')), patienceMs))
})
