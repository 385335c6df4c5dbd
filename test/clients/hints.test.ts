import { hash } from 'node:crypto'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import t, { type Test } from 'tap'
import { createEdgeVerifier, type EdgeVerifierOptions, UnavailableError } from '../../clients/js/src/edge.js'
import { becomesTrue, patienceMs } from '../fixtures/app.js'
import { root } from '../fixtures/programs.js'
import { startUpstash } from '../fixtures/upstash.js'
import { serve, service, token } from '../verifier/scene.js'

/** The edge's side: what it makes of hints, and of an Upstash that gives none. */

const live = (sub: string, rest: object = {}) => ({ active: true, sub, scope: '', iat: 1, sid: 's', ...rest })
const hexOf = (i: number) => hash('sha256', token(i))

/** A Latchkey that says of every token that it is `asked`'s, and is away once `stop` was called. */
async function startScene (t: Test) {
  const upstash = await startUpstash(t)
  if (upstash === null) return null
  const { url, asked, server } = await serve(t, (_request, response) => { response.end(JSON.stringify({ results: [live('asked')] })) })
  const options = { url, token: service }
  const hints = { url: upstash.url, token: upstash.tokens.read, timeoutMs: patienceMs }
  const write = (i: number, hint: unknown) =>
    upstash.client.set(`lk:hint:${hexOf(i)}`, typeof hint === 'string' ? hint : JSON.stringify(hint))
  return {
    upstash,
    asked,
    write,
    stop: () => { server.closeAllConnections(); server.close() },
    create: (rest: Partial<EdgeVerifierOptions> = {}) => createEdgeVerifier({ ...options, upstash: hints, ...rest }),
    hints,
    hint: (i: number, answer: object = live('hinted'), forMs = 60_000) => write(i, { hash: hexOf(i), until: Date.now() + forMs, answer })
  }
}

t.test('only a whole hint for this very token counts, and only until it says; anything else is asked about', async t => {
  const scene = await startScene(t)
  if (scene === null) return
  const edge = scene.create()
  await scene.hint(1, live('hinted', {
    scope: 'a b', exp: 9_999_999_999, amr: ['pwd', 'otp'], acr: 'aal2', email_verified: true, username: 'ada@example.com'
  }))
  t.strictSame(await edge.verify(token(1)), {
    issuedAtMs: 1_000,
    expiresAtMs: 9_999_999_999_000,
    amr: ['pwd', 'otp'],
    acr: 'aal2',
    emailVerified: true,
    token: { abilities: ['a', 'b'] },
    session: { id: 's' },
    user: { id: 'hinted', email: 'ada@example.com', emailVerified: true }
  })
  await scene.write(1, 'ended')
  t.equal(await edge.verify(token(1)), null)
  t.equal(scene.asked.length, 0)

  const whole = { hash: hexOf(1), until: Date.now() + 60_000, answer: live('hinted') }
  const others = [
    'ask', '', 'x', 'null', '1', '[]', '{}', '"ended"', 'Ended', ' ended', { ...whole, hash: hexOf(2) }, { ...whole, hash: undefined },
    { ...whole, until: Date.now() - 1 }, { ...whole, until: String(whole.until) }, { ...whole, until: null }, { ...whole, answer: null },
    { ...whole, answer: { active: false } }, { ...whole, answer: { active: 'true' } }, { ...whole, answer: { active: true } }, [whole]
  ]
  for (const [i, other] of others.entries()) {
    await scene.write(1, other)
    t.equal((await edge.verify(token(1)))?.user.id, 'asked', JSON.stringify(other))
    t.equal(scene.asked.length, i + 1)
  }
})

t.test('while hints are paused each token is asked about', async t => {
  const scene = await startScene(t)
  if (scene === null) return
  const edge = scene.create()
  await scene.hint(1)
  t.equal((await edge.verify(token(1)))?.user.id, 'hinted')
  await scene.upstash.client.set('lk:hints:pause', 'ask')
  t.equal((await edge.verify(token(1)))?.user.id, 'asked')
})

t.test('a check reads both keys in one request, with the key prefix of the server', async t => {
  const scene = await startScene(t)
  if (scene === null) return
  const edge = scene.create({ upstash: { ...scene.hints, keyPrefix: 'my:' } })
  await Promise.all([1, 2, 3].map(i => edge.verify(token(i))))
  const read = (i: number) => ({ path: '/', commands: [['mget', `my:hint:${hexOf(i)}`, 'my:hints:pause']] })
  t.strictSame(scene.upstash.requests.sort((a, b) => String(a.commands) < String(b.commands) ? -1 : 1), [1, 2, 3].map(read).sort((a, b) => String(a.commands) < String(b.commands) ? -1 : 1))
  for (const text of ['nonsense', `lkr_${'0'.repeat(50)}`]) t.equal(await edge.verify(text), null)
  t.equal(scene.upstash.requests.length, 3, 'what looks like no token is not read')
})

t.test('an Upstash that is away, silent, refusing or talking nonsense means that Latchkey is asked, and it is left alone for a moment', async t => {
  const scene = await startScene(t)
  if (scene === null) return
  const { upstash } = scene
  await scene.hint(1)
  const says = (status: number, body: string) => (_request: unknown, response: ServerResponse) => { response.writeHead(status).end(body); return true }
  for (const [what, upstashOptions, fault] of [
    ['away', { url: 'http://127.0.0.1:1' }, null],
    ['a wrong token', { token: 'wrong' }, null],
    ['silent', { timeoutMs: 50 }, () => true],
    ['silent within its answer', { timeoutMs: 50 }, (_request: unknown, response: ServerResponse) => { response.write('{"result":'); return true }],
    ['closing', {}, (_request: unknown, response: ServerResponse) => { response.destroy(); return true }],
    ...['', 'x', 'null', '{}', '[]', '1', '{"result":null}', '{"result":"T0s="}', '{"result":[]}', '{"result":[null]}', '{"result":[null,null,null]}', '{"error":"ERR"}', '[{"result":"x"}]']
      .map(body => [`200 ${body}`, {}, says(200, body)] as const),
    ...['', '<html>', '{"error":"ERR max daily request limit exceeded"}'].map(body => [`400 ${body}`, {}, says(400, body)] as const),
    ['503', {}, says(503, '')],
    ['a redirect to nowhere', {}, says(302, '')]
  ] as const) {
    upstash.breakBy(fault)
    const edge = scene.create({ upstash: { ...scene.hints, ...upstashOptions } })
    const [read, asked] = [upstash.requests.length, scene.asked.length]
    for (let i = 0; i < 8; i++) t.equal((await edge.verify(token(1)))?.user.id, 'asked', what)
    t.equal(scene.asked.length, asked + 8)
    t.ok(upstash.requests.length - read < 8, 'it is not tried each time')
    upstash.breakBy(null)
    if (what !== 'away' && what !== 'a wrong token') {
      t.ok(await becomesTrue(async () => (await edge.verify(token(1)))?.user.id === 'hinted', patienceMs), 'and read again after that')
    }
  }
})

t.test('a time-out is one check’s alone: later ones read what there is', async t => {
  const scene = await startScene(t)
  if (scene === null) return
  await scene.hint(1)
  let silent = true
  scene.upstash.breakBy(() => silent)
  const edge = scene.create({ upstash: { ...scene.hints, timeoutMs: 1_000 } })
  t.equal((await edge.verify(token(1)))?.user.id, 'asked')
  silent = false
  t.ok(await becomesTrue(async () => (await edge.verify(token(1)))?.user.id === 'hinted', patienceMs))
})

t.test('without memory nobody can say once neither answers; with it the last answer counts, while its time lasts', async t => {
  const scene = await startScene(t)
  if (scene === null) return
  const [strict, remembering, short] = [scene.create(), scene.create({ memorySeconds: 300 }), scene.create({ memorySeconds: 0.2 })]
  const withoutHints = scene.create({ upstash: undefined, memorySeconds: 300 })
  await scene.hint(2, live('hinted', { exp: Math.floor(Date.now() / 1000) + 100 }), 60_000)
  for (const edge of [strict, remembering, short, withoutHints]) t.equal((await edge.verify(token(1)))?.user.id, 'asked')
  await remembering.verify(token(2))
  // One whose hint was read before it was over, however slow this machine is.
  let brief = 9
  const readsBrief = async () => {
    await scene.hint(++brief, live('hinted'), 1_000)
    return (await remembering.verify(token(brief)))?.user.id === 'hinted'
  }
  t.ok(await becomesTrue(readsBrief, patienceMs))
  scene.stop()
  await scene.upstash.client.flushall()
  t.equal((await remembering.verify(token(1)))?.user.id, 'asked')
  t.equal((await remembering.verify(token(2)))?.user.id, 'hinted')
  t.equal((await withoutHints.verify(token(1)))?.user.id, 'asked')
  await t.rejects(strict.verify(token(1)), UnavailableError)
  await t.rejects(remembering.verify(token(4)), UnavailableError, 'never seen')
  t.ok(await becomesTrue(() => short.verify(token(1)).then(() => false, error => error instanceof UnavailableError), patienceMs), 'only for so long')
  t.ok(await becomesTrue(() => remembering.verify(token(brief)).then(() => false, error => error instanceof UnavailableError), patienceMs), 'no longer than the hint says')
})

t.test('what was found dead is not brought back by an answer that took longer', async t => {
  const upstash = await startUpstash(t)
  if (upstash === null) return
  let answerSlowly: ((answer: object) => void) | null = null
  const { url, server } = await serve(t, (_request, response) => {
    answerSlowly = answer => { response.end(JSON.stringify({ results: [answer] })) }
  })
  const edge = createEdgeVerifier({ url, token: service, memorySeconds: 300, upstash: { url: upstash.url, token: upstash.tokens.read, timeoutMs: patienceMs } })
  const early = edge.verify(token(1))
  t.ok(await becomesTrue(() => answerSlowly !== null, patienceMs))
  await upstash.client.set(`lk:hint:${hexOf(1)}`, 'ended')
  t.equal(await edge.verify(token(1)), null)
  ;(answerSlowly as unknown as (answer: object) => void)(live('early'))
  t.equal((await early)?.user.id, 'early', 'which was true when it was asked')
  server.closeAllConnections()
  server.close()
  await upstash.client.flushall()
  await t.rejects(edge.verify(token(1)), UnavailableError)
})

t.test('options that cannot be used are refused, without their values', async t => {
  const options = { url: 'https://x', token: service }
  const upstash = { url: 'https://x.upstash.io', token: 'AX_y==' }
  for (const url of ['', 'SENTINEL', 'redis://SENTINEL', 'https://u:SENTINEL@x', 'https://x?SENTINEL']) {
    t.throws(() => createEdgeVerifier({ ...options, upstash: { ...upstash, url } }), { name: 'TypeError', message: /^upstash\.url must(?!.*SENTINEL)/ }, url)
  }
  for (const bad of ['', 'SENTINEL x', '"SENTINEL"', 'SENTINEL\n']) {
    t.throws(() => createEdgeVerifier({ ...options, upstash: { ...upstash, token: bad } }), { message: 'upstash.token must be the token of the REST API' })
  }
  for (const timeoutMs of [0, -1, Number.NaN]) {
    t.throws(() => createEdgeVerifier({ ...options, upstash: { ...upstash, timeoutMs } }), { message: /^upstash\.timeoutMs must/ })
  }
  for (const memorySeconds of [-1, 301, Number.NaN, '30' as unknown as number, true as unknown as number].filter(value => typeof value === 'number')) {
    t.throws(() => createEdgeVerifier({ ...options, memorySeconds }), { message: 'memorySeconds must be from 0 to 300' })
  }
})

t.test('without the package @upstash/redis bundles are made, and only an edge that wants hints fails, loudly', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-bundle-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  cpSync(join(root, 'clients/js/src'), join(folder, 'src'), { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  const { errors } = await build({
    entryPoints: [join(folder, 'src/edge.ts')],
    bundle: true,
    format: 'esm',
    outfile: join(folder, 'edge.js'),
    logLevel: 'silent'
  })
  t.strictSame(errors, [])
  const { createEdgeVerifier: create } = await import(join(folder, 'edge.js')) as { createEdgeVerifier: typeof createEdgeVerifier }
  const { url } = await serve(t, (_request, response) => { response.end(JSON.stringify({ results: [live('asked')] })) })
  t.equal((await create({ url, token: service }).verify(token(1)))?.user.id, 'asked')
  const wanting = create({ url, token: service, upstash: { url, token: 'x' } })
  await t.rejects(wanting.verify(token(1)), { name: 'TypeError', message: 'upstash needs the package @upstash/redis' })
  await t.rejects(wanting.admit(token(1)), { name: 'TypeError' })
})
