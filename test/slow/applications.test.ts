import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener, request } from 'node:http'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import fastify from 'fastify'
import t, { type Test } from 'tap'
import { latchkey, requireAbility } from '../../src/embedding/index.js'
import { createVerifier } from '../../src/verifier/index.js'
import { becomesTrue, patienceMs, serverGround, skipMissing, startApp } from '../fixtures/app.js'
import { alone, compile, root } from '../fixtures/programs.js'
import { freePort, hasRedisServer, startRedis } from '../fixtures/servers.js'
import { listen } from './proxies-scene.js'

/** Applications of four frameworks that share one Latchkey of two instances, and a Redis that is killed. */

t.setTimeout(600_000)

const installed = createRequire(import.meta.url)
/** What docs/EDGE.md shows of a Next.js application, by the name of its file. */
const documented = [...readFileSync(join(root, 'docs/EDGE.md'), 'utf8').matchAll(/^```jsx?\n\/\/ (\S+)\n(.*?)^```$/gms)]
  .map(([, name = '', text = '']): [string, string] => [name, text]).filter(([name]) => name !== 'worker.js')

interface Answer { status: number, location: string | undefined, text: string }

/** Headers as given: `fetch` would say of each request itself that it is no navigation. */
async function ask (url: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    request(url, { headers, method, agent: false }, reply => {
      let text = ''
      reply.setEncoding('utf8').on('data', chunk => { text += String(chunk) }).on('error', reject)
      reply.on('end', () => resolve({ status: reply.statusCode ?? 0, location: reply.headers.location, text }))
    }).on('error', reject).end()
  })
}

/** Builds and starts what the document shows, in a folder beside the packages that Next.js has to find. */
async function startNext (t: Test, port: number, env: Record<string, string>): Promise<string> {
  const project = mkdtempSync(join(root, 'test/slow/next-app-'))
  t.teardown(() => rmSync(project, { recursive: true, force: true, maxRetries: 5 }))
  const write = (name: string, text: string) => {
    mkdirSync(dirname(join(project, name)), { recursive: true })
    writeFileSync(join(project, name), text)
  }
  for (const [name, text] of documented) write(name === 'next.config.js' ? 'documented.config.js' : name, text)
  write('package.json', '{"type":"module","private":true}')
  write('app/layout.jsx', 'export default ({ children }) => <html lang="en"><body>{children}</body></html>\n')
  // Else it looks for its root beyond this folder, where several lockfiles are.
  const turbopackRoot = JSON.stringify(join(root, 'test/slow'))
  write('next.config.js', `import config from './documented.config.js'\nexport default { ...config, turbopack: { root: ${turbopackRoot} } }\n`)
  const client = join(project, 'node_modules/latchkey-client')
  cpSync(join(root, 'clients/js/package.json'), join(client, 'package.json'), { recursive: true })
  const built = ['--outDir', join(client, 'dist'), '--tsBuildInfoFile', join(client, 'dist/.tsbuildinfo')]
  await promisify(execFile)(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', join(root, 'clients/js'), ...built])

  const program = installed.resolve('next/dist/bin/next')
  const quiet = { HOME: project, NEXT_TELEMETRY_DISABLED: '1' }
  // As a build has it: no secret.
  await promisify(execFile)(
    ...alone({ ...quiet, LATCHKEY_URL: env.LATCHKEY_URL ?? '' }, process.execPath, program, 'build'),
    { cwd: project, timeout: 300_000 }
  )
  const server: ChildProcess = spawn(
    ...alone({ ...quiet, ...env }, process.execPath, program, 'start', '--hostname', '127.0.0.1', '--port', String(port)),
    { cwd: project, stdio: 'ignore' }
  )
  const gone = once(server, 'exit')
  t.teardown(async () => {
    server.kill()
    await gone
  })
  const url = `http://127.0.0.1:${port}`
  t.ok(await becomesTrue(() => ask(`${url}/api/orders`).then(({ status }) => status > 0, () => false), patienceMs), 'Next.js answers')
  return url
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const inBrowser = (token?: string) => ({
  accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document',
  ...token === undefined ? {} : { cookie: `__Host-latchkey=${token}` }
})

t.test('a logout on one instance is a 401 in Fastify, Express, Hono and Next.js at once, also while Redis is away', async t => {
  if (!hasRedisServer) return skipMissing(t, 'needs a redis-server binary: install Redis 7 or later')
  await compile()
  let redis = await startRedis()
  t.teardown(() => redis.kill())
  const ground = await serverGround(t, { redisUrl: redis.url })
  if (ground === null) return
  const nextPort = await freePort()
  const publicUrl = `http://127.0.0.1:${nextPort}`
  const env = { SESSION_LIMIT: '0', PUBLIC_URL: publicUrl }
  const [one, two] = await Promise.all([startApp(t, ground, { env }), startApp(t, ground, { env })])
  const url = await one.app.listen({ host: '127.0.0.1', port: 0 })
  const service = (await one.serviceTokens.create('orders')).plain.reveal()
  const direct = { databaseUrl: ground.databaseUrl as string, redisUrl: redis.url, redisKeyPrefix: ground.prefix }

  const host = fastify({ pluginTimeout: 60_000 })
  t.teardown(() => host.close())
  await host.register(latchkey, {
    prefix: '/auth',
    env: { DATABASE_URL: direct.databaseUrl, REDIS_URL: direct.redisUrl, REDIS_KEY_PREFIX: ground.prefix, PRUNE_SCHEDULE: '0 2 29 2 *', ...env }
  })
  host.get('/orders', { onRequest: requireAbility('orders:read') }, async request => ({ owner: request.token?.user.id }))
  const byFastify = await host.listen({ host: '127.0.0.1', port: 0 })

  const near = createVerifier(direct)
  t.teardown(() => near.close())
  const express = (installed('express') as () => { get (path: string, ...handlers: unknown[]): void } & RequestListener)()
  express.get('/orders', near.requireAbility('orders:read'), (
    { auth }: { auth: { user: { id: string } } }, reply: { json (body: object): void }
  ) => reply.json({ owner: auth.user.id }))
  const byExpress = `http://127.0.0.1:${await listen(t, createServer(express))}`

  const far = createVerifier({ url, token: service })
  t.teardown(() => far.close())
  interface HonoApp { get (path: string, ...handlers: unknown[]): void, fetch: unknown }
  const { Hono } = await import(pathToFileURL(installed.resolve('hono')).href) as { Hono: new () => HonoApp }
  const { getRequestListener } = await import(pathToFileURL(join(root, 'test/slow/node_modules/@hono/node-server/dist/index.mjs')).href) as
    { getRequestListener (fetch: unknown): RequestListener }
  const hono = new Hono()
  hono.get('/orders', far.hono.requireAbility('orders:read'), (
    c: { var: { auth: { user: { id: string } } }, json (body: object): Response }
  ) => c.json({ owner: c.var.auth.user.id }))
  const byHono = `http://127.0.0.1:${await listen(t, createServer(getRequestListener(hono.fetch)))}`

  const next = await startNext(t, nextPort, { LATCHKEY_URL: url, SERVICE_TOKEN: service, PUBLIC_URL: publicUrl })
  const doors = { fastify: `${byFastify}/orders`, express: `${byExpress}/orders`, hono: `${byHono}/orders`, next: `${next}/api/orders` }
  const everywhere = async (token: string) =>
    Object.fromEntries(await Promise.all(Object.entries(doors).map(async ([name, door]) => [name, (await ask(door, bearer(token))).status])))
  const all = (status: number) => ({ fastify: status, express: status, hono: status, next: status })
  const wanted = { abilities: ['orders:read'] }

  t.test('Next.js: proxy, route handler and server component know who asks', async t => {
    const { token, userId } = await one.account(wanted)
    t.match(await ask(doors.next, bearer(token)), { status: 200, text: JSON.stringify({ owner: userId }) })
    const page = await ask(`${next}/orders`, inBrowser(token))
    t.equal(page.status, 200)
    t.match(page.text, userId)
    const { token: narrow } = await one.account({ abilities: ['orders:write'] })
    t.match(await ask(doors.next, bearer(narrow)), { status: 403, text: /AUTH_INSUFFICIENT_ABILITY/ })
    t.match(await ask(doors.next), { status: 401, text: /AUTH_MISSING_TOKEN/ })
    // Next.js makes the address of its own site relative.
    const signIn = `/account?return_to=${encodeURIComponent(`${publicUrl}/orders`)}`
    t.match(await ask(`${next}/orders`, inBrowser()), { status: 302, location: signIn })
    t.match(await ask(`${next}/account`, inBrowser()), { status: 200, text: /<html/ }, 'the sign-in page, through its rewrite')
    t.equal((await ask(`${next}/v1/logout`, bearer(token), 'POST')).status, 204, 'and a logout')
    t.match(await ask(`${next}/orders`, inBrowser(token)), { status: 302, location: signIn }, 'signed out at the next request')
  })

  async function logOutOn (revoker: typeof one, what: string): Promise<void> {
    const { token } = await one.account(wanted)
    const bystander = await two.account(wanted)
    for (let i = 0; i < 3; i++) t.strictSame(await everywhere(token), all(200), what)
    t.equal((await revoker.logout(token)).statusCode, 204)
    t.strictSame(await everywhere(token), all(401), what)
    t.strictSame(await everywhere(bystander.token), all(200), what)
  }

  await logOutOn(one, 'on one instance')
  await logOutOn(two, 'on the other')
  const { port } = redis
  await redis.kill()
  await logOutOn(one, 'with Redis gone')
  await logOutOn(two, 'with Redis gone, on the other')
  redis = await startRedis({ port })
  await logOutOn(two, 'with Redis back')
  await Promise.all([one.trusted(), two.trusted()])
  await logOutOn(one, 'and trusted again')
})
