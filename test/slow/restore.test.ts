import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { operator } from '../../src/admin/service.js'
import { newEmail, password, serverGround, skipMissing, startApp, type TestApp } from '../fixtures/app.js'
import { compileServer, createInstance, root } from '../fixtures/instance.js'
import { freePort, isInstalled } from '../fixtures/servers.js'

/** Runs the commands of docs/BACKUP.md. */

const blocks = [...readFileSync(join(root, 'docs/BACKUP.md'), 'utf8').matchAll(/^ *```sh\n(.*?)^ *```$/gms)].flatMap(match =>
  (match[1] as string).trim().split('\n').map(line => line.trim()))
const [
  backUp,
  keepEvents,
  restore,
  revoke,
  forget,
  clear,
  copy
] = [
  'pg_dump',
  'psql "$DATABASE_URL" --csv',
  'pg_restore',
  'npm run tokens:revoke',
  "psql \"$DATABASE_URL\" --command='delete",
  'npm run cache:clear',
  'cp '
].map(start => {
  const found = blocks.filter(line => line.startsWith(start))
  if (found.length !== 1) throw new Error(`docs/BACKUP.md has ${found.length} lines that begin with ${start}`)
  return found[0] as string
}) as [string, string, string, string, string, string, string]

t.test(
  'every command of the document is run here',
  async t => t.strictSame(blocks, [backUp, keepEvents, restore, revoke, forget, clear, copy])
)

t.test('with PostgreSQL and Redis', { timeout: 280_000 }, async t => {
  if (!['pg_dump', 'pg_restore', 'psql'].every(isInstalled)) return skipMissing(
    t,
    'needs pg_dump, pg_restore and psql: install the client of PostgreSQL'
  )
  const ground = await serverGround(t)
  if (ground?.databaseUrl == null || ground.redisUrl === null) return
  const shell = openShell(t, { DATABASE_URL: ground.databaseUrl, REDIS_URL: ground.redisUrl, REDIS_KEY_PREFIX: ground.prefix })
  const instances = async () => [await startApp(t, ground), await startApp(t, ground)] as const
  const statuses = (apps: readonly TestApp[], token: string) => Promise.all(apps.map(async app => (await app.me(token)).statusCode))

  let apps = await instances()
  const [one, two] = apps
  const ada = await one.account({ refresh: true })
  const personal = (await one.call('POST', '/v1/tokens', { token: ada.token, body: { name: 'backup' } })).json<{
    accessToken: string
    token: { id: string }
  }>()
  const { plain: servicePlain, service } = await one.serviceTokens.create('orders')
  const serviceToken = servicePlain.reveal()
  const introspect = async (app: TestApp) =>
    (await app.call(
      'POST',
      '/oauth/introspect',
      { token: serviceToken, body: 'token=x', headers: { 'content-type': 'application/x-www-form-urlencoded' } }
    )).statusCode
  const root = await one.account()
  await one.admin.setRole(operator, root.userId, 'admin')

  await shell(backUp)

  t.equal((await one.call('DELETE', `/v1/tokens/${personal.token.id}`, { token: ada.token })).statusCode, 204)
  t.equal((await one.logout(ada.token)).statusCode, 204)
  t.equal((await two.call('DELETE', `/v1/admin/services/${service.id}`, { token: root.token })).statusCode, 204)
  for (const token of [ada.token, personal.accessToken]) t.strictSame(await statuses(apps, token), [401, 401], 'revoked')
  t.equal(await introspect(one), 401)
  const later = await one.account()
  t.strictSame(await statuses(apps, later.token), [200, 200], 'somebody new')
  t.ok(await one.cached(later.token), 'whose token is cached')
  await shell(keepEvents)
  await Promise.all(apps.map(app => app.close()))

  await shell(restore)
  await passMinute(ground.redisUrl, ground.prefix)

  t.test('the danger: tokens revoked since the backup are accepted again', async t => {
    apps = await instances()
    for (const token of [ada.token, personal.accessToken]) t.strictSame(await statuses(apps, token), [200, 200])
    t.equal(await introspect(apps[1]), 200)
    await Promise.all(apps.map(app => app.trusted()))
    t.strictSame(await statuses(apps, later.token), [200, 200], 'and the cache vouches for somebody whom the database no longer knows')
    await Promise.all(apps.map(app => app.close()))
  })

  t.test('cache:clear alone does not end restored tokens; it only forgets users that the backup lacks', async t => {
    t.match(await shell(clear), 'Every cache entry is void.')
    apps = await instances()
    t.strictSame(await statuses(apps, ada.token), [200, 200])
    t.strictSame(await statuses(apps, later.token), [401, 401])
    await Promise.all(apps.map(app => app.close()))
  })

  t.test('after the commands no earlier token is accepted anywhere, and users can log in again', async t => {
    t.match(await shell(revoke), /Ended \d+ sessions and \d+ personal tokens of \d+ users, and the tokens of \d+ services\./)
    await shell(forget)
    apps = await instances()
    for (const token of [ada.token, personal.accessToken, later.token, root.token]) t.strictSame(await statuses(apps, token), [401, 401])
    for (const app of apps) t.equal(await introspect(app), 401)
    t.equal((await apps[0].database.prepared('select 1 from mail_tokens union all select 1 from mails', [])).length, 0)
    const { accessToken } = (await apps[0].login(ada.email)).json<{ accessToken: string }>()
    t.strictSame(await statuses(apps, accessToken), [200, 200])
    t.match(await shell('cat events.csv'), `session_ended,${ada.userId}`)
  })
})

t.test('with the embedded database', { timeout: 280_000 }, async t => {
  await compileServer()
  const shell = openShell(t, { DATA_DIR: '' })
  const port = await freePort()
  const base = `http://127.0.0.1:${port}`
  const server = createInstance(t, port, { PATH: process.env.PATH ?? '', BCRYPT_COST: '4', DATA_DIR: join(shell.folder, '.latchkey') })
  const me = async (token: string) => (await fetch(`${base}/v1/me`, { headers: { authorization: `Bearer ${token}` } })).status
  const post = (
    path: string,
    body: object,
    headers = {}
  ) => fetch(`${base}${path}`, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) })
  const email = newEmail()

  await server.start()
  const { accessToken: token } = await (await post('/v1/register', { email, password })).json() as { accessToken: string }
  t.equal((await server.end()).code, 0)
  await shell(copy)

  await server.start()
  t.equal((await post('/v1/logout', {}, { authorization: `Bearer ${token}` })).status, 204)
  t.equal(await me(token), 401, 'revoked')
  t.equal((await server.end()).code, 0)
  await shell('rm -r .latchkey && cp -a latchkey-backup .latchkey')

  await server.start()
  t.equal(await me(token), 200, 'the danger: it is accepted again')
  await server.end()
  t.match(await shell(revoke), 'Ended 1 sessions')
  await server.start()
  t.equal(await me(token), 401)
  t.equal((await post('/v1/login', { email, password })).status, 200)
  t.equal((await server.end()).code, 0)
})

/** Removes the keys of revoked tokens from Redis, as a minute's wait would. */
async function passMinute (url: string, prefix: string): Promise<void> {
  const client = new Redis(url)
  for (const key of await client.keys(`${prefix}token:*`)) if (await client.get(key) === 'R') await client.del(key)
  client.disconnect()
}

/** Runs lines in a shell in a folder of its own (npm in the project's); returns their output, throws if one fails. */
function openShell (t: Test, env: Record<string, string>) {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-restore-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const { DATA_DIR: dataDir } = env
  const type = async (line: string): Promise<string> => {
    const { stdout } = await promisify(execFile)('bash', ['-ec', line], {
      cwd: line.startsWith('npm ') ? root : folder,
      env: {
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        BCRYPT_COST: '4',
        ...env,
        ...dataDir === undefined ? {} : { DATA_DIR: join(folder, '.latchkey') }
      }
    })
    return stdout
  }
  return Object.assign(type, { folder })
}
