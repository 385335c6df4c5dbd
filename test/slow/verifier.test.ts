import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { serverGround, startApp } from '../fixtures/app.js'
import { compile, root } from '../fixtures/programs.js'
import { createVerifierRole } from '../verifier/scene.js'

interface Example {
  app: unknown
  ownerOf (job: { token: string }): Promise<string>
  cartOf (request: { headers: Record<string, string> }): Promise<unknown>
  close (): Promise<void>
}

async function listen (t: Test, handler: RequestListener): Promise<string> {
  const server = createServer(handler)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => new Promise(resolve => { server.closeAllConnections(); server.close(resolve) }))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test('what docs/VERIFYING.md shows runs in Express, in Hono and in a worker, and a logout ends a token in all of them at once', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  await compile()
  const project = mkdtempSync(join(tmpdir(), 'latchkey-verifier-'))
  t.teardown(() => rmSync(project, { recursive: true, force: true }))
  mkdirSync(join(project, 'node_modules'))
  for (const name of ['express', 'hono']) symlinkSync(join(root, 'test/slow/node_modules', name), join(project, 'node_modules', name))
  symlinkSync(root, join(project, 'node_modules/latchkey'))
  writeFileSync(join(project, 'package.json'), JSON.stringify({ type: 'module' }))
  const files = [...readFileSync(join(root, 'docs/VERIFYING.md'), 'utf8').matchAll(/^```js\n\/\/ (\S+)\n(.*?)^```$/gms)]
  t.strictSame(files.map(([, name]) => name), ['express.js', 'hono.js', 'worker.js', 'cart.js'])
  for (const [, name, text] of files) writeFileSync(join(project, name as string), text as string)

  // The examples name no prefix of keys: without the cache of another they read PostgreSQL.
  const [one, two] = await Promise.all([startApp(t, { ...ground, prefix: 'lk:' }), startApp(t, { ...ground, prefix: 'lk:' })])
  const latchkey = await one.app.listen({ host: '127.0.0.1', port: 0 })
  Object.assign(process.env, {
    DATABASE_URL: await createVerifierRole(t, ground.databaseUrl as string),
    REDIS_URL: ground.redisUrl as string,
    LATCHKEY_URL: latchkey,
    SERVICE_TOKEN: (await one.serviceTokens.create('orders')).plain.reveal()
  })
  t.teardown(() => { for (const name of ['DATABASE_URL', 'REDIS_URL', 'LATCHKEY_URL', 'SERVICE_TOKEN']) delete process.env[name] })
  const load = async (name: string): Promise<Example> => {
    const example = await import(pathToFileURL(join(project, name)).href) as Example
    t.teardown(example.close)
    return example
  }
  const [byExpress, byHono, worker, { cartOf }] = [await load('express.js'), await load('hono.js'), await load('worker.js'), await load('cart.js')]
  const express = await listen(t, byExpress.app as RequestListener)
  const { getRequestListener } = await import(pathToFileURL(join(root, 'test/slow/node_modules/@hono/node-server/dist/index.mjs')).href) as
    { getRequestListener (fetch: unknown): RequestListener }
  const hono = await listen(t, getRequestListener((byHono.app as { fetch: unknown }).fetch))

  const ask = async (url: string, token?: string) => {
    const reply = await fetch(`${url}/orders`, { headers: token === undefined ? {} : { authorization: `Bearer ${token}` } })
    return { status: reply.status, challenge: reply.headers.get('www-authenticate'), body: await reply.json() as { owner?: string, code?: string } }
  }
  for (const [name, revoker] of [['one', one], ['two', two]] as const) {
    const { token, userId } = await one.account()
    for (let i = 0; i < 3; i++) {
      for (const url of [express, hono]) t.match(await ask(url, token), { status: 200, body: { owner: userId } })
      t.equal(await worker.ownerOf({ token }), userId)
    }
    const request = { headers: { authorization: `Bearer ${token}` } }
    t.strictSame(await cartOf(request), [])
    await revoker.call('PUT', '/v1/session/data', { token, body: { cart: ['tea'] } })
    t.strictSame(await cartOf(request), ['tea'])
    t.equal((await revoker.logout(token)).statusCode, 204)
    t.equal(await cartOf(request), null)
    const [e, h, w] = await Promise.all([ask(express, token), ask(hono, token), worker.ownerOf({ token })])
    for (const refused of [e, h]) t.match(refused, { status: 401, challenge: /error="invalid_token"/, body: { code: 'AUTH_INVALID_TOKEN' } }, name)
    t.equal(w, 'nobody')
  }
  const { token: narrow } = await one.account({ abilities: ['orders:write'] })
  for (const url of [express, hono]) {
    t.match(await ask(url, narrow), { status: 403, challenge: /scope="orders:read"/, body: { code: 'AUTH_INSUFFICIENT_ABILITY' } })
    t.match(await ask(url), { status: 401, challenge: 'Bearer realm="latchkey"', body: { code: 'AUTH_MISSING_TOKEN' } })
  }
  await worker.close()
  t.equal(await worker.ownerOf({ token: narrow }), 'later')
})
