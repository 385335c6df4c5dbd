import fastify from 'fastify'
import postgres from 'postgres'
import t from 'tap'
import { latchkey, requireFactor } from '../../src/embedding/index.js'
import { actingAs, inMemory } from '../../src/embedding/testing.js'
import { createVerifier } from '../../src/verifier/index.js'
import { embeddedGround, serverGround, startApp } from '../fixtures/app.js'
import { createVerifierRole, optionsOf } from '../verifier/scene.js'
import { addPhone, createPhone, enrol, logInWith, refusalIn } from './phone.js'

const challenge = 'Bearer realm="latchkey", error="insufficient_user_authentication", acr_values="aal2"'

t.test('requireFactor of the plugin lets in sessions that a second factor helped to open, and says to others what they lack', async t => {
  const app = fastify({ pluginTimeout: 60_000 })
  t.teardown(() => app.close())
  await app.register(latchkey, inMemory({ SESSION_LIMIT: '0' }))
  app.get('/payments', { onRequest: requireFactor() }, async request => ({ amr: request.token?.amr, acr: request.token?.acr }))
  const ada = await actingAs(app)
  const refused = await ada.inject('/payments')
  t.same([...refusalIn(refused), refused.headers['www-authenticate']], [403, 'AUTH_SECOND_FACTOR_REQUIRED', challenge])
  t.equal((await app.inject('/payments')).statusCode, 401)
  const { uri } = (await ada.inject({ method: 'POST', url: '/v1/totp' })).json<{ uri: string }>()
  const code = createPhone(uri, { now: Date.now }).code()
  t.equal((await ada.inject({ method: 'POST', url: '/v1/totp/confirm', payload: { code } })).statusCode, 200)
  t.same((await ada.inject('/payments')).json(), { amr: ['pwd', 'otp'], acr: 'aal2' })
})

t.test('an application that mounts Latchkey with SECOND_FACTOR=everyone lets nobody past enrolment', async t => {
  const app = fastify({ pluginTimeout: 60_000 })
  t.teardown(() => app.close())
  await app.register(latchkey, inMemory({ SECOND_FACTOR: 'everyone' }))
  app.get('/orders', { onRequest: async request => app.latchkey.authenticate(request) }, async () => ({ orders: [] }))
  const ada = await actingAs(app)
  t.same(refusalIn(await ada.inject('/orders')), [403, 'AUTH_SECOND_FACTOR_ENROLMENT'])
})

t.test('a verifier by URL knows how a session was opened, and requireFactor answers as the plugin does', async t => {
  const one = await startApp(t, await embeddedGround(), { env: { SESSION_LIMIT: '0' } })
  const url = await one.app.listen({ host: '127.0.0.1', port: 0 })
  const verifier = createVerifier({ url, token: (await one.serviceTokens.create('payments')).plain.reveal() })
  t.teardown(() => verifier.close())
  const { email, phone } = await enrol(one)
  const { accessToken } = await logInWith(one, email, { totp: phone.code() })
  t.match(await verifier.verify(accessToken), { amr: ['pwd', 'otp'], acr: 'aal2', emailVerified: false })
  const { token: plain } = await one.account()
  const guard = verifier.hono.requireFactor()
  const ask = async (token: string) => {
    const request = new Request('http://app.example/', { headers: { authorization: `Bearer ${token}` } })
    return await guard({ req: { raw: request }, set () {} }, async () => {}) ?? new Response('in')
  }
  t.equal(await (await ask(accessToken)).text(), 'in')
  const refused = await ask(plain)
  t.same([refused.status, refused.headers.get('www-authenticate')], [403, challenge])
  t.match(await refused.json(), { code: 'AUTH_SECOND_FACTOR_REQUIRED' })
})

t.test('a verifier on PostgreSQL and Redis', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const one = await startApp(t, ground, { env: { SESSION_LIMIT: '0' } })
  const role = await createVerifierRole(t, ground.databaseUrl as string)
  const [verifier, strict] = [{}, { secondFactor: 'everyone' }].map(options => createVerifier({ ...optionsOf(ground, role), ...options }))
  if (verifier === undefined || strict === undefined) throw new Error('two were made')
  t.teardown(() => Promise.all([verifier.close(), strict.close()]))
  await Promise.all([verifier.ready(), strict.ready()])

  t.test('knows a session by what opened it, from the next call on', async t => {
    const { token } = await one.account()
    t.match(await verifier.verify(token), { amr: ['pwd'], acr: 'aal1' })
    t.equal(await strict.verify(token), null, 'and no principal, where everyone must have a second factor')
    const { phone } = await addPhone(one, token)
    for (const each of [verifier, strict]) t.match(await each.verify(token), { amr: ['pwd', 'otp'], acr: 'aal2' })
    t.equal((await one.call('DELETE', '/v1/totp', { token, body: { totp: phone.code() } })).statusCode, 204)
    for (const each of [verifier, strict]) t.equal(await each.verify(token), null)
  })

  t.test('may read no secret of a second factor', async t => {
    const sql = postgres(role, { max: 1, onnotice: () => {} })
    t.teardown(() => sql.end({ timeout: 1 }))
    for (const table of ['totp_factors', 'recovery_codes', 'login_challenges']) {
      await t.rejects(sql.unsafe(`select from ${table}`), { code: '42501' }, table)
    }
  })
})
