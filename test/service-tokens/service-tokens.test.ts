import { createHash } from 'node:crypto'
import type { LightMyRequestResponse as Response } from 'fastify'
import t, { type Test } from 'tap'
import { runCommand } from '../../src/commands/index.js'
import { createTestClock, onEachGround, serverGround, startApp, type TestApp } from '../fixtures/app.js'
import { hold, holdUser } from '../fixtures/locks.js'

t.setTimeout(120_000)

interface Service { id: string, name: string, createdAt: string, lastUsedAt: string | null }

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const list = (one: TestApp, token: string) => one.call('GET', '/v1/admin/services', { token })
const listed = async (one: TestApp, token: string) => (await list(one, token)).json<{ services: Service[] }>().services
const end = (one: TestApp, token: string, id: string) => one.call('DELETE', `/v1/admin/services/${id}`, { token })
const introspect = (
  one: TestApp,
  service: string,
  token: string
) =>
  one.app.inject({
    method: 'POST',
    url: '/oauth/introspect',
    payload: `token=${token}`,
    headers: { authorization: `Bearer ${service}`, 'content-type': 'application/x-www-form-urlencoded' }
  })

async function adminOf (one: TestApp) {
  const { email, userId } = await one.account()
  await one.database.prepared("update users set role = 'admin' where id = $1", [userId])
  return { email, userId, token: (await one.login(email)).json<{ accessToken: string }>().accessToken }
}

function refused (t: Test, reply: Response, statusCode: number, code: string, what = code): void {
  t.strictSame([reply.statusCode, reply.json<{ code: string }>().code], [statusCode, code], what)
}

onEachGround(t, async (t, ground) => {
  const clock = createTestClock()
  const one = await startApp(t, ground, { clock })
  const admin = await adminOf(one)
  const create = async (...args: string[]) => await runCommand(one, 'services:create', args)

  t.test('services:create shows the token once, and the token may introspect and nothing else', async t => {
    const made = await create('--name', 'orders')
    t.equal(made.exitCode, 0)
    const [
      ,
      id = '',
      token = ''
    ] = /^Created the service orders \(([0-9a-f-]+)\)\. Its token, shown this once:\n(lkp_[0-9A-Za-z]{50})$/.exec(made.stdout) ?? []
    t.match(id, uuid)
    const { token: person } = await one.account()
    t.match((await introspect(one, token, person)).json(), { active: true, scope: '*' })
    const [row] = await one.database.prepared<object>(
      "select id, kind, name, user_id, session_id, expires_at, abilities::text as abilities from tokens where hash = decode($1, 'hex')",
      [createHash('sha256').update(token).digest('hex')]
    )
    t.strictSame(
      { ...row },
      { id, kind: 'service', name: 'orders', user_id: null, session_id: null, expires_at: null, abilities: '{introspect}' }
    )
    t.equal(one.log.some(line => line.includes(token)), false, 'no log contains it')
    t.notMatch((await list(one, admin.token)).body, /lkp_|hash/)
  })

  t.test('services:create --json gives machine-readable output', async t => {
    const made = JSON.parse((await create('--json', '--name=billing')).stdout)
    t.strictSame(Object.keys(made).sort(), ['accessToken', 'createdAt', 'id', 'name'])
    const { token } = await one.account()
    t.equal((await introspect(one, made.accessToken, token)).statusCode, 200)
  })

  t.test('services:create refuses the name of a living service, and takes that of one that has ended', async t => {
    const first = JSON.parse((await create('--json', '--name=stock')).stdout)
    const before = (await listed(one, admin.token)).length
    await t.rejects(create('--name', 'stock'), { message: 'There is a service named stock: choose another name, or end that one first with services:delete.' })
    t.equal((await listed(one, admin.token)).length, before)
    t.equal((await create('--name', 'Stock')).exitCode, 0, 'another name')
    t.equal((await end(one, admin.token, first.id)).statusCode, 204)
    const second = JSON.parse((await create('--json', '--name=stock')).stdout)
    const { token } = await one.account()
    t.strictSame(
      [(await introspect(one, first.accessToken, token)).statusCode, (await introspect(one, second.accessToken, token)).statusCode],
      [401, 200]
    )
  })

  t.test('services:create makes nothing when its arguments are bad', async t => {
    const before = (await listed(one, admin.token)).length
    for (const args of [
      [],
      ['--name'],
      ['--name', ''],
      ['--name', 'x'.repeat(201)],
      ['--name', 'two\nlines'],
      ['--name', '\u001b[2J'],
      ['orders'],
      ['--name', 'x', 'more'],
      ['--nome', 'x'],
      ['--json']
    ]) {
      const outcome = await create(...args)
      t.equal(outcome.exitCode, 2, JSON.stringify(args))
      t.match(outcome.stderr, /Usage: npm run services:create/)
      t.equal(outcome.stdout, '')
    }
    t.match(await create('--help'), { exitCode: 0, stdout: /^Usage: npm run services:create/ })
    t.equal((await listed(one, admin.token)).length, before)
  })

  t.test('admins see services, newest first, with their last use', async t => {
    const { plain, service } = await one.serviceTokens.create('newest')
    t.match(
      (await listed(one, admin.token))[0],
      { id: service.id, name: 'newest', createdAt: service.createdAt.toISOString(), lastUsedAt: null }
    )
    await one.pass(5_000)
    const at = clock.now() - 1
    await introspect(one, plain.reveal(), admin.token)
    await one.lastUse.flush()
    const [newest] = await listed(one, admin.token)
    t.strictSame(Object.keys(newest ?? {}).sort(), ['createdAt', 'id', 'lastUsedAt', 'name'])
    t.ok(Date.parse(newest?.lastUsedAt ?? '') >= at)
  })

  t.test('an admin ends a service at once, and the event says who did it', async t => {
    const { plain, service: { id } } = await one.serviceTokens.create('brief')
    const { token } = await one.account()
    for (let i = 0; i < 2; i++) t.equal((await introspect(one, plain.reveal(), token)).statusCode, 200)
    for (const way of [id, id.toUpperCase()]) t.equal((await end(one, admin.token, way)).statusCode, 204, 'a second time too')
    refused(t, await introspect(one, plain.reveal(), token), 401, 'AUTH_INVALID_TOKEN')
    t.equal((await listed(one, admin.token)).some(service => service.id === id), false)
    const events = await one.database.prepared<object>(
      'select type, cause, user_id, actor_id, ip from events where token_id = $1 order by type',
      [id]
    )
    t.strictSame(
      events.map(event => ({ ...event })),
      [
        { type: 'service_created', cause: 'command', user_id: null, actor_id: null, ip: null },
        { type: 'service_ended', cause: 'ended_by_admin', user_id: null, actor_id: admin.userId, ip: '127.0.0.1' }
      ]
    )
  })

  t.test('the route that ends services ends nothing else', async t => {
    const person = await one.account()
    const { token: { id } } = (await one.call('POST', '/v1/tokens', { token: person.token, body: { name: 'script' } })).json()
    const access = (await one.me(person.token)).json().token.id
    for (const target of [
      id,
      access,
      person.sessionId,
      '00000000-0000-4000-8000-000000000000',
      'none'
    ]) refused(t, await end(one, admin.token, target), 404, 'AUTH_NOT_FOUND')
    t.equal((await one.me(person.token)).statusCode, 200)
  })

  t.test('nobody but an admin sees or ends services', async t => {
    const { plain, service: { id } } = await one.serviceTokens.create('theirs')
    const { token } = await one.account()
    const script = (await one.call('POST', '/v1/tokens', { token: admin.token, body: { name: 'script' } })).json().accessToken
    for (const ask of [(by: string) => list(one, by), (by: string) => end(one, by, id)]) {
      refused(t, await ask(token), 403, 'AUTH_FORBIDDEN', 'a user')
      for (const by of [script, plain.reveal()]) refused(t, await ask(by), 403, 'AUTH_SESSION_REQUIRED', 'a program')
      refused(t, await ask('lk_x'), 401, 'AUTH_INVALID_TOKEN')
    }
    t.equal((await introspect(one, plain.reveal(), token)).statusCode, 200)
  })

  t.test('pruning keeps a live service and removes an ended one', async t => {
    const [live, ended] = [await one.serviceTokens.create('live'), await one.serviceTokens.create('ended')]
    const late = await startApp(t, ground, { clock })
    const keeper = ground.databaseUrl === null ? one : late
    t.equal((await end(keeper, admin.token, ended.service.id)).statusCode, 204)
    clock.advance(8 * 86_400_000)
    await keeper.prune({ dryRun: false })
    const left = await keeper.database.prepared<{ id: string }>(
      'select id from tokens where id = any($1::uuid[])',
      [`{${live.service.id},${ended.service.id}}`]
    )
    t.strictSame(left.map(({ id }) => id), [live.service.id])
  })
})

t.test('an admin who is demoted while their request waits ends nothing', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const one = await startApp(t, ground)
  const admin = await adminOf(one)
  const { plain, service: { id } } = await one.serviceTokens.create('orders')
  const row = await holdUser(t, ground, admin.userId)
  const ending = end(one, admin.token, id)
  await row.waiters(1)
  await row.change(`update users set role = 'user' where id = '${admin.userId}'`)
  await row.commit()
  refused(t, await ending, 403, 'AUTH_FORBIDDEN')
  t.match((await introspect(one, plain.reveal(), admin.token)).json(), { active: true })
})

t.test('of two services made at once under one name, one is', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const [one, two] = [await startApp(t, ground), await startApp(t, ground)]
  const names = await hold(t, ground, 'select pg_advisory_xact_lock(7402320)')
  const making = Promise.allSettled([one.serviceTokens.create('orders'), two.serviceTokens.create('orders')])
  await names.waiters(2)
  await names.release()
  t.strictSame((await making).map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  const { entries } = await one.serviceTokens.list({ limit: 100 })
  t.strictSame(entries.map(({ name }) => name), ['orders'])
})

t.test('the look-up that every request makes uses its indexes', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const database = await ground.database()
  const asked = new Set<string>()
  const one = await startApp(
    t,
    {
      ...ground,
      database: async () =>
        ({ ...database, prepared: (text, parameters) => { asked.add(text); return database.prepared(text, parameters) } })
    }
  )
  const { token } = await one.account()
  await one.database.prepared(
    "insert into tokens (id, hash, kind, user_id, abilities, created_at) select gen_random_uuid(), sha256(i::text::bytea), 'personal', (select id from users limit 1), '{}', now() from generate_series(1, 20000) as i",
    []
  )
  const { plain } = await one.serviceTokens.create('orders')
  t.match((await introspect(one, plain.reveal(), token)).json(), { active: true }, 'never used before, so the database was asked')
  await one.database.prepared('analyze tokens', [])
  const plan = async (
    text: string,
    parameters: string[]
  ) => (await one.database.prepared<Record<string, string>>(`explain ${text}`, parameters)).flatMap(row => Object.values(row)).join('\n')
  const hash = createHash('sha256').update(token).digest('hex')
  const hot = [...asked].find(text => /from .*pg_is_in_recovery/.test(text) && /tokens t/.test(text)) ?? 'nothing was asked'
  const found = await plan(hot, [`{"\\\\x${hash}"}`, '1'])
  t.match(found, /Index Scan using tokens_hash_unique/)
  t.notMatch(found, /Seq Scan on tokens/)
  const services = await plan("select * from tokens where user_id is null and kind = 'service' and revoked_at is null", [])
  t.match(services, /tokens_user_id/)
  t.notMatch(services, /Seq Scan on tokens/)
})
