import type { LightMyRequestResponse as Response } from 'fastify'
import t from 'tap'
import { embeddedGround, newEmail, password, startApp } from '../fixtures/app.js'
import { type Openapi, operationsOf } from '../slow/fuzz/checks.js'

/** What a 400 says about the field that it refuses: `field` and `reason` for programs, a sentence of our own for people. */

const one = await startApp(t, await embeddedGround(), { env: { SESSION_LIMIT: '0' } })
const { token, email } = await one.account()

const id = '00000000-0000-4000-8000-000000000000'
const post = (url: string, body: unknown) => one.call('POST', url, { token, body })
const form = (body: string) =>
  one.app.inject({ method: 'POST', url: '/oauth/token', payload: body, headers: { 'content-type': 'application/x-www-form-urlencoded' } })

function saidOf (reply: Response): string {
  const { statusCode, code, field, reason, message } = reply.json<Record<string, string>>()
  return `${statusCode} ${code} ${field} ${reason}: ${message}`
}

t.test('a 400 about a field names it, gives a reason and says it in a sentence', async t => {
  const login = (body: object) => post('/v1/login', { email, password, ...body })
  for (const [asked, expected] of [
    [post('/v1/login', { email }), 'FST_ERR_VALIDATION password missing: The field password is missing'],
    [login({ deviceNames: 'x' }), 'FST_ERR_VALIDATION deviceNames unknown: The field deviceNames is not known here'],
    [login({ [`${password}!`]: 1 }), 'FST_ERR_VALIDATION body unknown: The body has a field that is not known here'],
    [login({ password: 12345678 }), 'FST_ERR_VALIDATION password wrong_type: The field password must be of type string'],
    [login({ deviceName: '' }), 'FST_ERR_VALIDATION deviceName too_short: The field deviceName must have at least 1 characters'],
    [login({ deviceName: 'x'.repeat(201) }), 'FST_ERR_VALIDATION deviceName too_long: The field deviceName may have at most 200 characters'],
    [login({ deviceName: 'a\0b' }), 'FST_ERR_VALIDATION deviceName malformed: The field deviceName is malformed'],
    [login({ email: 'none' }), 'FST_ERR_VALIDATION email malformed: The field email is malformed'],
    [login({ abilities: ['a', 'b b'] }), 'FST_ERR_VALIDATION abilities malformed: The field abilities is malformed'],
    [login({ abilities: ['a', 'a'] }), 'FST_ERR_VALIDATION abilities duplicate: The field abilities has an entry twice'],
    [login({ abilities: Array(65).fill('a') }), 'FST_ERR_VALIDATION abilities too_long: The field abilities may have at most 64 entries'],
    [post('/v1/tokens', { name: 'x', expiresIn: 0 }), 'FST_ERR_VALIDATION expiresIn out_of_range: The field expiresIn must be at least 1'],
    [post('/v1/login', []), 'FST_ERR_VALIDATION body wrong_type: The body must be of type object'],
    [post('/v1/login', undefined), 'FST_ERR_VALIDATION body wrong_type: The body must be of type object'],
    [one.call('GET', '/v1/events?limit=101', { token }), 'FST_ERR_VALIDATION limit malformed: The field limit is malformed'],
    [one.call('GET', '/v1/events?cursor=none', { token }), 'AUTH_CURSOR_REJECTED cursor malformed: The cursor is none that this list gave'],
    [form('refresh_token=x'), 'FST_ERR_VALIDATION grant_type missing: The field grant_type is missing'],
    [form('scope=a&scope=b'), 'AUTH_INVALID_REQUEST body duplicate: A parameter came twice'],
    [form('grant_type=refresh_token'), 'AUTH_INVALID_REQUEST refresh_token missing: The refresh_token is missing'],
    [form('grant_type=%ff'), 'AUTH_INVALID_REQUEST body malformed: The body is not well-formed UTF-8'],
    [post('/v1/register', { email: 'a\uff20b@example.com', password }), 'AUTH_EMAIL_REJECTED email malformed: This is no email address'],
    [post('/v1/register', { email: newEmail(), password: 'short' }),
      'AUTH_PASSWORD_REJECTED password too_short: The password must have at least 8 characters']
  ] as const) t.equal(saidOf(await asked), `400 ${expected}`)
})

t.test('the field of a list of roles names what it may be', async t => {
  await one.database.prepared("update users set role = 'admin' where email = $1", [email])
  const boss = (await one.login(email)).json<{ accessToken: string }>().accessToken
  const given = await one.call('PUT', `/v1/admin/users/${id}/role`, { token: boss, body: { role: 'root' } })
  t.equal(saidOf(given), '400 FST_ERR_VALIDATION role not_allowed: The field role must be one of: user, admin')
  const asked = await one.call('GET', '/v1/admin/events?from=0000-01-01T00:00:00Z', { token: boss })
  t.equal(saidOf(asked), '400 AUTH_INVALID_REQUEST from out_of_range: There is no such point in time')
  await one.database.prepared("update users set role = 'user' where email = $1", [email])
})

t.test('every route that takes a body does so, in words of our own, and repeats nothing of it', async t => {
  const openapi = (await one.call('GET', '/openapi.json')).json<Openapi>()
  const operations = operationsOf(openapi).filter(({ body }) => body !== null)
  t.ok(operations.length >= 15)
  const secret = 'SENTINEL-kq7vzx3m'
  for (const { name, method, path, responses } of operations) {
    for (const body of [{ [secret]: secret }, { email: secret, password: [secret], token: { secret } }, secret, [secret]]) {
      const url = path.replace(/\{\w+\}/g, id)
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
      const reply = await one.app.inject({ method: method as 'POST', url, headers, payload: JSON.stringify(body) })
      // Session data comes back as it was sent.
      if (reply.statusCode < 300) continue
      t.notMatch(reply.body, secret, name)
      if (reply.statusCode !== 400) continue
      t.match(reply.json(), { code: 'FST_ERR_VALIDATION', field: /^[A-Za-z.]+$/, reason: /^[a-z_]+$/ }, name)
      t.notMatch(reply.body, /must NOT|must match|body\/|must have required/, name)
      t.match(JSON.stringify(responses[400]), reply.json<{ reason: string }>().reason, `${name} declares it`)
    }
  }
})
