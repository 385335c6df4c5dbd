import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import t from 'tap'
import type { Client } from '../../clients/js/src/index.js'
import { embeddedGround, newEmail, password, startApp } from '../fixtures/app.js'
import { openShell, pattern, readBlocks } from '../fixtures/document.js'
import { createPhone } from '../fixtures/phone.js'
import { alone, compile, root, startCompiled } from '../fixtures/programs.js'

/**
 * docs/CLIENTS.md, as it stands there. caller.js is run by test/oauth/oauth.test.ts, and page.js, app.jsx and vite.config.js by
 * test/slow/clients-browser.test.ts.
 */

t.setTimeout(240_000)

const address = 'https://auth.example.com'
const blocks = readBlocks('docs/CLIENTS.md')


t.test('every example is run by some test', async t => {
  t.strictSame(
    blocks.filter(({ info }) => info === 'js').map(({ text }) => text.split('\n', 1)[0]),
    ['// page.js', '// vite.config.js', '// step-up.js', '// second-step.js', '// cart.js', '// elsewhere.js', '// phone.js', '// caller.js']
  )
  t.strictSame([...new Set(blocks.map(({ info }) => info))].sort(), ['', 'js', 'jsx', 'sh', 'text'])
})

t.test('each shell command prints what the document shows below it', async t => {
  await compile()
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-clients-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const { base } = await startCompiled(t, { DATA_DIR: dir, SESSION_LIMIT: '0' })
  const type = openShell(t, { env: { HOME: dir, DATA_DIR: dir } })
  for (const [i, { info, line, text, given }] of blocks.entries()) {
    if (info !== 'sh') continue
    if (given.includes('a caller')) {
      const reply = await fetch(
        `${base}/v1/register`,
        { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ email: newEmail(), password }) }
      )
      await type([`TOKEN=${(await reply.json() as { accessToken: string }).accessToken}`])
    }
    const { printed, exitCode } = await type(text.replaceAll(address, base).trimEnd().split('\n'))
    t.equal(exitCode, 0, `line ${line} ends well`, { printed })
    t.match(printed.join('\n').trimEnd(), pattern((blocks[i + 1]?.text ?? '').trimEnd()), `line ${line} prints what the document shows`)
  }
})

t.test('elsewhere.js, phone.js and step-up.js keep a user signed in, and cart.js what is in the cart', async t => {
  const one = await startApp(t, await embeddedGround(), { env: { SESSION_LIMIT: '0' } })
  await one.app.listen({ host: '127.0.0.1', port: 0 })
  const base = `http://127.0.0.1:${(one.app.server.address() as AddressInfo).port}`
  const email = newEmail()
  await one.register(email)
  const keychain = `const kept = globalThis.keychain ??= {}
    export const getItemAsync = async key => kept[key] ?? null
    export const setItemAsync = async (key, text) => { kept[key] = text }
    export const deleteItemAsync = async key => { delete kept[key] }`
  const { askForProof } = await load<{ askForProof (client: Client, showForm: (name: string, code: string) => Promise<string>): void }>(
    'step-up.js',
    base
  )
  const { addToCart } = await load<{ addToCart (client: Client, item: string): Promise<object | null> }>('cart.js', base)
  for (const name of ['elsewhere.js', 'phone.js']) {
    const { client } = await load<{ client: Client }>(name, base, keychain)
    t.teardown(() => client.dispose())
    t.match(await client.signInWithPassword({ email, password }), { data: { user: { email } }, error: null })
    t.strictSame(await addToCart(client, 'tea'), { tea: 1 })
    await one.pass(16 * 60_000)
    t.strictSame(await addToCart(client, 'milk'), { tea: 1, milk: 1 })
    t.strictSame(await Promise.all([1, 2].map(async () => (await client.fetch('/v1/me')).status)), [200, 200])
    const asked: string[] = []
    askForProof(client, async (name, code) => {
      asked.push(name, code)
      return password
    })
    t.match(await client.tokens.create({ name: 'script' }), { data: { accessToken: /^lkp_/ } })
    t.strictSame(asked, ['password', 'AUTH_REAUTHENTICATE'])
  }
  const { client } = await load<{ client: Client }>('phone.js', base, keychain)
  t.match(await client.getSession(), { data: { user: { email } } }, 'the app wakes up with what the keychain has')
  await client.signOut()
  t.strictSame((globalThis as unknown as { keychain: object }).keychain, {})
})

t.test('second-step.js sets up an app and signs in by its codes, and step-up.js asks for one', async t => {
  const one = await startApp(t, await embeddedGround(), { env: { SESSION_LIMIT: '0' } })
  await one.app.listen({ host: '127.0.0.1', port: 0 })
  const base = `http://127.0.0.1:${(one.app.server.address() as AddressInfo).port}`
  const email = newEmail()
  await one.register(email)
  const { signInByCode, setUpApp } = await load<{
    signInByCode (client: Client, email: string, password: string, showForm: (factors: string[]) => Promise<string>): ReturnType<Client['signInWithSecondFactor']>
    setUpApp (client: Client, showQrCode: (uri: string, secret: string) => Promise<string>): Promise<string[]>
  }>('second-step.js', base)
  const { askForProof } = await load<{ askForProof (client: Client, showForm: (name: string) => Promise<string>): void }>('step-up.js', base)
  const { client } = await load<{ client: Client }>('elsewhere.js', base)
  t.teardown(() => client.dispose())
  t.match(await signInByCode(client, email, password, async () => ''), { data: { user: { email } }, error: null }, 'without a second factor')
  let phone = null as ReturnType<typeof createPhone> | null
  const codes = await setUpApp(client, async uri => {
    phone = createPhone(uri, one)
    return phone.code()
  })
  t.equal(codes.length, 10)
  await client.signOut()
  const next = async () => await phone?.nextCode() ?? ''
  t.match(await signInByCode(client, email, password, async factors => {
    t.strictSame(factors, ['totp', 'recovery'])
    return await next()
  }), { data: { user: { email } }, error: null })
  await one.pass(16 * 60_000)
  askForProof(client, async name => name === 'totp' ? await next() : password)
  t.match(await client.tokens.create({ name: 'script' }), { data: { accessToken: /^lkp_/ } })
})

t.test('the package is what Install says', async t => {
  const project = mkdtempSync(join(tmpdir(), 'latchkey-client-'))
  t.teardown(() => rmSync(project, { recursive: true, force: true }))
  const run = (
    cwd: string,
    program: string,
    ...args: string[]
  ) =>
    execFileSync(
      ...alone({ HOME: process.env.HOME ?? '' }, program, ...args),
      { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }
    )
  const [{ filename, files }] = JSON.parse(run(
    root,
    'npm',
    'pack',
    '--workspace',
    'latchkey-client',
    '--json',
    '--silent',
    '--pack-destination',
    project
  ))
  for (const path of [
    'dist/index.js',
    'dist/index.d.ts',
    'dist/react.js',
    'dist/react.d.ts',
    'dist/edge.js',
    'dist/next.d.ts',
    'dist/verifying/introspection.js'
  ]) t.ok(files.some((file: { path: string }) => file.path === path), path)
  t.notOk(files.some(({ path }: { path: string }) => path.startsWith('src')))
  writeFileSync(join(project, 'package.json'), '{"type":"module"}')
  run(project, 'npm', 'install', '--no-audit', '--no-fund', '--omit=peer', join(project, filename))
  t.equal(
    run(
      project,
      process.execPath,
      '-e',
      "import('latchkey-client').then(({ createClient }) => console.log(typeof createClient({ url: 'https://auth.example.com' }).fetch))"
    ).trim(),
    'function'
  )
  const tool = (name: string, ...args: string[]) => run(root, join(root, 'test/slow/node_modules/.bin', name), ...args)
  t.match(tool('publint', '--strict', join(root, 'clients/js')), /All good/)
  t.match(
    tool(
      'attw',
      '--profile',
      'esm-only',
      '--no-color',
      '--no-emoji',
      '--exclude-entrypoints',
      './package.json',
      '--ignore-rules',
      'cjs-resolves-to-esm',
      '--',
      join(project, filename)
    ),
    /OK \(ESM\)/,
    'which ends with 1 for a problem'
  )
})

/**
 * The example of that name with what it imports, for the server at `base`; `keychain` is the module that a phone has as expo-secure-store.
 */
async function load<T> (name: string, base: string, keychain = ''): Promise<T> {
  const shown = blocks.find(({ info, text }) => info === 'js' && text.startsWith(`// ${name}\n`))?.text ?? ''
  const { outputFiles } = await build({
    stdin: { contents: shown.replaceAll(address, base), resolveDir: root },
    bundle: true,
    write: false,
    format: 'esm',
    alias: { 'latchkey-client': join(root, 'clients/js/src/index.ts') },
    plugins: [{
      name: 'keychain',
      setup ({ onResolve, onLoad }) {
        onResolve({ filter: /^expo-secure-store$/ }, () => ({ path: 'keychain', namespace: 'keychain' }))
        onLoad({ filter: /^/, namespace: 'keychain' }, () => ({ contents: keychain }))
      }
    }]
  })
  return await import(`data:text/javascript,${encodeURIComponent(`${outputFiles[0]?.text}// ${Math.random()}`)}`) as T
}
