import { spawn } from 'node:child_process'
import { hash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import t, { type Test } from 'tap'
import { checkEdge, expectedAtEdge } from '../clients/edge-everywhere.js'
import { checkEverywhere, expected } from '../clients/everywhere.js'
import { becomesTrue, embeddedGround, newEmail, password, patienceMs, startApp } from '../fixtures/app.js'
import { alone, root } from '../fixtures/programs.js'
import { freePort } from '../fixtures/servers.js'
import { startUpstash } from '../fixtures/upstash.js'
import { token } from '../verifier/scene.js'

/** latchkey-client where there is neither a browser nor all of Node.js. */

const requireInstalled = createRequire(import.meta.url)

/** An Upstash in which there is a hint for one token, and one that another has ended. */
async function startHints (t: Test) {
  const found = await startUpstash(t)
  if (found === null) return null
  const [hinted, ended] = [token(1), token(2)]
  const answer = { active: true, sub: 'hinted', scope: '', iat: 1, sid: 's' }
  const hint = { hash: hash('sha256', hinted), until: Date.now() + 3_600_000, answer }
  await found.client.mset({ [`lk:hint:${hint.hash}`]: JSON.stringify(hint), [`lk:hint:${hash('sha256', ended)}`]: 'ended' })
  return { upstash: { url: found.url, token: found.tokens.read, timeoutMs: patienceMs }, hinted, ended }
}

async function startServer (t: Test) {
  const hints = await startHints(t)
  if (hints === null) throw new Error('redis-server is missing')
  const one = await startApp(t, await embeddedGround(), { env: { SESSION_LIMIT: '0' } })
  await one.app.listen({ host: '127.0.0.1', port: 0 })
  const email = newEmail()
  await one.register(email)
  const url = `http://127.0.0.1:${(one.app.server.address() as AddressInfo).port}`
  const [{ token: own, userId, sessionId }, { plain }] = [await one.account(), await one.serviceTokens.create('edge')]
  const edge = { url, service: plain.reveal(), token: own, hints }
  return { email, url, edge, wanted: { everywhere: expected(email), edge: expectedAtEdge(userId, sessionId) } }
}

async function bundleFor (format: 'esm' | 'iife', source: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: {
      contents: `import { checkEverywhere } from './test/clients/everywhere.ts'
        import { checkEdge } from './test/clients/edge-everywhere.ts'
        ${source}`,
      resolveDir: root
    },
    bundle: true,
    write: false,
    format,
    target: 'es2022'
  })
  return outputFiles[0]?.text ?? ''
}

t.test('Node.js', async t => {
  const { url, email, edge, wanted } = await startServer(t)
  t.strictSame(await checkEverywhere(url, email, password), wanted.everywhere)
  t.strictSame(await checkEdge(edge), wanted.edge)
})

t.test('edge-runtime', async t => {
  const { url, email, edge, wanted } = await startServer(t)
  const { EdgeVM } = requireInstalled('@edge-runtime/vm') as { EdgeVM: new () => { evaluate <T>(code: string): T } }
  const vm = new EdgeVM()
  vm.evaluate(await bundleFor('iife', 'Object.assign(globalThis, { checkEverywhere, checkEdge })'))
  const run = async (call: string) => JSON.parse(await vm.evaluate<Promise<string>>(`${call}.then(JSON.stringify)`)) as unknown
  t.strictSame(
    await run(`checkEverywhere(${JSON.stringify(url)}, ${JSON.stringify(email)}, ${JSON.stringify(password)})`),
    wanted.everywhere
  )
  t.strictSame(await run(`checkEdge(${JSON.stringify(edge)})`), wanted.edge)
})

t.test('workerd', { timeout: 120_000 }, async t => {
  const { url, email, edge, wanted } = await startServer(t)
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-workerd-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const port = await freePort()
  writeFileSync(join(folder, 'worker.js'), await bundleFor('esm', `export default {
    async fetch () {
      try {
        return Response.json({
          everywhere: await checkEverywhere(${JSON.stringify(url)}, ${JSON.stringify(email)}, ${JSON.stringify(password)}),
          edge: await checkEdge(${JSON.stringify(edge)})
        })
      } catch (error) {
        return Response.json({ failed: String(error?.stack ?? error) })
      }
    }
  }`))
  // Old on purpose: later dates lift restrictions that some workers still have.
  writeFileSync(join(folder, 'config.capnp'), `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (modules = [(name = "worker.js", esModule = embed "worker.js")], compatibilityDate = "2023-01-01")),
    (name = "internet", network = (allow = ["private", "local", "public"]))
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]
);
`)
  // The program itself: what npm calls workerd is a script that starts it, and doesn't end it.
  const { default: program } = requireInstalled('workerd') as { default: string }
  const worker = spawn(
    ...alone({ HOME: folder }, program, 'serve', join(folder, 'config.capnp')),
    { stdio: ['ignore', 'inherit', 'inherit'] }
  )
  t.teardown(() => worker.kill())
  const ask = () => fetch(`http://127.0.0.1:${port}/`).then(reply => reply.json(), () => null)
  let found: unknown = null
  t.ok(await becomesTrue(async () => (found = await ask()) !== null, patienceMs))
  t.strictSame(found, wanted)
})
