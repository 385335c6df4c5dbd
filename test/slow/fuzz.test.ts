import { execFile, spawn } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { becomesTrue, type Ground, patienceMs, serverGround } from '../fixtures/app.js'
import { openSql } from '../fixtures/servers.js'
import { type Accounts, createAccounts } from './fuzz/accounts.js'
import { createReplyCheck, headsOf, leaksIn, type Openapi, operationsOf, secretsOf } from './fuzz/checks.js'
import { createClient, type Incoming, type Outgoing } from './fuzz/client.js'
import { type Draft, formOf, mutate, mutationNames, ownPage, rawBytes } from './fuzz/mutations.js'
import { type Operation, type Valid, validFor } from './fuzz/recipes.js'
import { type Choices, createChoices } from './fuzz/values.js'

/** FUZZ_SEED repeats the requests of a run; only their order between workers may differ. */
const seed = Number(process.env.FUZZ_SEED ?? randomInt(2 ** 31))
const leastRequests = Number(process.env.FUZZ_REQUESTS ?? 20_000)
const workers = 12
const root = fileURLToPath(new URL('../..', import.meta.url))

t.setTimeout(900_000)

t.test('every route of /openapi.json under valid and mutated requests', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const marker = `s3cret${randomBytes(8).toString('hex')}`
  const server = await startServer(t, ground)
  const client = createClient(server.port)
  const sql = openSql(ground.databaseUrl as string, { max: 2 })
  t.teardown(async () => { client.close(); await sql.end({ timeout: 1 }) })

  const openapi = JSON.parse((await client.send(get('/openapi.json')))?.body ?? '') as Openapi
  const operations = operationsOf(openapi)
  const run = createRun({ openapi, operations, marker, client })
  const accounts = createAccounts({ call: run.call, sql, marker, mailFolder: server.mailFolder, command: server.command })
  const startedAt = performance.now()
  // While there is no administrator yet.
  await run.call('POST', '/v1/admin/setup', null, { token: server.setupToken(), email: accounts.newEmail(), password: accounts.newPassword() })
  let turn = 0
  await Promise.all(Array.from({ length: workers }, async () => {
    while (run.sent() < leastRequests && server.isAlive()) await run.turn(turn++, accounts)
  }))
  const seconds = (performance.now() - startedAt) / 1000

  let ready: Incoming | null = null
  await becomesTrue(
    async () => (ready = await client.send(get('/health/ready')).catch(() => null))?.body.includes('"status":"ok"') === true,
    patienceMs
  )
  t.match(ready, { status: 200, body: /"status":"ok"/ }, 'the server is ready at the end')
  t.ok(server.isAlive(), 'and alive')
  const secrets = await secretsOf(sql, accounts.mailedTokens())
  client.close()
  const log = await server.end()

  t.ok(run.sent() >= leastRequests, `${run.sent()} requests`)
  t.same(run.faults(), [], 'no reply breaks a promise')
  for (const { name } of operations) t.ok(
    run.successes(name) > 0,
    `${name} was answered with 2xx: else its recipe is missing in test/slow/fuzz/recipes.ts`
  )
  t.ok(run.share(status => status === 429) < 0.01, 'under 1 % were limited')
  t.same([...run.unused()], [], 'every mutation was tried')

  t.test('no secret is in any line of the log at level trace', async t => {
    const planted = [
      '{"msg":"x"}',
      `{"a":"${marker}-1"}`,
      '{"a":"lk_0123456789012345678901"}',
      '{"a":"$2b$04$x"}',
      `{"a":"${[...secrets].at(-1)}"}`,
      '{"b":1}'
    ].join('\n')
    t.equal(leaksIn(planted, marker, secrets).length, 4, 'planted ones are found')
    t.ok(secrets.size > operations.length, `${secrets.size} hashes, keys and mailed tokens to look for`)
    t.ok(log.split('\n').length > leastRequests, 'the log was on')
    t.same(leaksIn(log, marker, secrets).slice(0, 5).map(line => line.slice(0, 300)), [])
  })

  t.test('every line of the log is one JSON object, and none tells of an error of the server', async t => {
    const lines = log.split('\n').filter(line => line !== '' && !/^(Latchkey listens|Documentation|Try|Sessions|Embedded|Mails|Pages)\b/.test(line))
    t.same(lines.filter(line => !isJsonObject(line)).slice(0, 5), [])
    t.same(lines.filter(line => /"level":(50|60)/.test(line)).slice(0, 5), [])
  })

  t.comment(
    `fuzz: ${run.sent()} requests over ${operations.length} operations in ${seconds.toFixed(0)} s, seed ${seed}: ${run.classes()}; 2xx per operation: ${operations.map(({ name }) =>
      `${name} ${run.successes(name)}`).join(', ')}`
  )
})

interface RunParts { openapi: Openapi, operations: Operation[], marker: string, client: ReturnType<typeof createClient> }

/** Sends the requests, and collects replies and faults. */
function createRun ({ openapi, operations, marker, client }: RunParts) {
  const check = createReplyCheck(openapi, marker)
  const statuses = new Map<number, number>()
  const successes = new Map<string, number>()
  const failedRecipes = new Map<string, number>()
  const faults = new Map<string, number>()
  const untried = new Set(mutationNames)
  let unanswered = 0

  const share = (of: (status: number) => boolean) =>
    [...statuses].reduce((sum, [status, count]) => sum + (of(status) ? count : 0), 0) / Math.max(1, sent())
  const sent = () => [...statuses.values()].reduce((sum, count) => sum + count, 0) + unanswered
  const fault = (what: string) => { faults.set(what, (faults.get(what) ?? 0) + 1) }

  function note (operation: Operation | null, method: string, path: string, reply: Incoming, what: string): void {
    statuses.set(reply.status, (statuses.get(reply.status) ?? 0) + 1)
    if (operation !== null && reply.status < 300) successes.set(operation.name, (successes.get(operation.name) ?? 0) + 1)
    for (const found of check(operation, method, path, reply)) fault(`${what}: ${found}`)
  }

  async function call (method: string, path: string, token: string | null, body: object | null): Promise<Incoming> {
    const headers: Array<[string, string]> = [
      ['user-agent', 'fuzz'],
      ...token === null ? [] : [['authorization', `Bearer ${token}`] as [string, string]],
      ...body === null ? [] : [['content-type', 'application/json'] as [string, string]]
    ]
    const reply = await client.send({ method, path, headers, body: body === null ? null : JSON.stringify(body) })
    if (reply === null) throw new Error(`${method} ${path} got no reply`)
    note(operations.find(({ name }) => name === `${method} ${path}`) ?? null, method, path, reply, `${method} ${path}`)
    return reply
  }

  async function turn (index: number, accounts: Accounts): Promise<void> {
    const operation = operations[index % operations.length] as Operation
    const choices = createChoices(seed + index * 7919)
    if ((failedRecipes.get(operation.name) ?? 0) >= 3) return
    let valid: Valid
    try {
      valid = await validFor(operation, accounts, choices)
    } catch (error) {
      failedRecipes.set(operation.name, (failedRecipes.get(operation.name) ?? 0) + 1)
      return fault(`${operation.name}: no valid request: ${(error as Error).message}`)
    }
    const draft = draftOf(operation, valid, choices)
    const names = choices.chance(0.2) ? [] : mutate(draft, choices, accounts)
    for (const name of names) untried.delete(name)
    const what = `${operation.name} (turn ${index}: ${names.join(', ') || 'valid'})`
    const body = draft.text ??
      (draft.fields === null ? null : operation.form === null ? JSON.stringify(draft.fields) : formOf(draft.fields))

    if (choices.chance(0.03)) {
      const replies = headsOf(await client.raw(rawBytes(draft, String(body ?? '').slice(0, 10_000), choices)))
      unanswered += replies.length === 0 ? 1 : 0
      for (const reply of replies) {
        statuses.set(reply.status, (statuses.get(reply.status) ?? 0) + 1)
        // What follows the head may belong to this reply or be the next one.
        for (const found of check(null, 'HEAD', draft.path, { ...reply, body: '' })) fault(`raw ${what}: ${found}`)
      }
      return
    }
    const path = `${draft.path}${draft.query === '' ? '' : `?${draft.query}`}`
    const outgoing: Outgoing = { method: draft.method, path: path === '' ? '/' : path, headers: draft.headers, body }
    const reply = await client.send(outgoing).catch((error: Error) => { fault(`${what}: ${error.message}`); return null })
    if (reply === null) unanswered++
    else note(draft.operation, draft.method, draft.path, reply, what)
    settle(draft, valid, reply, accounts)
  }

  return {
    sent, share, call, turn,
    successes: (name: string) => successes.get(name) ?? 0,
    unused: () => untried,
    /** The first twenty kinds. */
    faults: () => [...faults].slice(0, 20).map(([what, count]) => count === 1 ? what : `${what} (${count} times)`),
    classes: () =>
      [
        ...['2xx', '3xx', '4xx', '5xx'].map(
          name => `${name} ${(100 * share(status => Math.floor(status / 100
        ) === Number(name[0]))).toFixed(1)} %`),
        `429 ${(100 * share(status => status === 429)).toFixed(2)} %`,
        `401 ${(100 * share(status => status === 401)).toFixed(1)} %`,
        `unanswered ${unanswered}`
      ].join(', ')
  }
}

function draftOf (operation: Operation, { actor, params, body, query = {}, authorization }: Valid, choices: Choices): Draft {
  const headers: Array<[string, string]> = [['user-agent', 'fuzz']]
  if (actor !== null || authorization !== undefined) headers.push(['authorization', authorization ?? `Bearer ${actor?.token}`])
  if (body !== null) headers.push(['content-type', operation.form === null ? 'application/json' : 'application/x-www-form-urlencoded'])
  // Only our own pages are given cookies.
  if (body?.cookies === true || choices.chance(0.2)) headers.push(['origin', ownPage])
  const path = operation.path.replace(/\{(\w+)\}/g, (_all, name: string) => params[name] ?? '')
  return {
    operation,
    method: operation.method,
    path,
    query: new URLSearchParams(query).toString(),
    headers,
    fields: body,
    text: null,
    actor,
    credentialsTouched: false
  }
}

/** Operations that leave an account unchanged. */
const harmless = new Set([
  'POST /v1/login',
  'POST /v1/tokens',
  'POST /v1/password/forgot',
  'POST /v1/email/verify/send',
  'POST /oauth/introspect'
])

/** Returns the accounts that the request left unchanged to the pool. */
function settle (draft: Draft, { actor, concerns }: Valid, reply: Incoming | null, accounts: Accounts): void {
  const changed = reply === null ||
    (reply.status < 300 && !/^(GET|HEAD|OPTIONS)$/.test(draft.method) && !harmless.has(draft.operation?.name ?? ''))
  const refused = reply?.status === 401 && !draft.credentialsTouched
  for (const account of new Set([...actor === null ? [] : [actor], ...concerns])) {
    const spent = (changed && concerns.includes(account)) || (refused && (account === actor || actor === null))
    if (!spent) accounts.giveBack(account)
  }
}

function get (path: string): Outgoing {
  return { method: 'GET', path, headers: [], body: null }
}

function isJsonObject (line: string): boolean {
  try {
    return typeof JSON.parse(line) === 'object'
  } catch {
    return false
  }
}

/** The compiled server, with limits too high to be reached and its whole log kept. */
async function startServer (t: Test, ground: Ground) {
  await promisify(execFile)('npx', ['tsc', '-b', 'tsconfig.build.json'], { cwd: root })
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-fuzz-'))
  const vaultKeys = join(folder, 'vault-keys')
  writeFileSync(vaultKeys, `1:${randomBytes(32).toString('base64')}\n`)
  const env = {
    VAULT_KEYS_FILE: vaultKeys,
    PATH: process.env.PATH ??
      '', PORT: '0', DATA_DIR: folder, DATABASE_URL: ground.databaseUrl as string, REDIS_URL: ground.redisUrl as string, REDIS_KEY_PREFIX: ground.prefix,
    BCRYPT_COST: '4', LOGIN_LIMIT: '1000000/1m', ADDRESS_LIMIT: '0', SESSION_LIMIT: '0', LOG_LEVEL: 'trace', CORS_ORIGINS: ownPage, PUBLIC_URL: 'https://auth.example.com', APP_URL: `${ownPage}/account`, MAIL_FROM: 'latchkey@example.com'
  }
  const child = spawn(process.execPath, [join(root, 'dist/src/server.js')], { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const said: string[] = []
  const errors: string[] = []
  child.stdout.setEncoding('utf8').on('data', (text: string) => said.push(text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => errors.push(text))
  const link = /^There is no administrator yet.*\n\S+#token=(\S+)\n/
  const exited = new Promise<void>(resolve => { child.once('close', () => resolve()) })
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
    rmSync(folder, { recursive: true, force: true })
  })
  const isAlive = () => child.exitCode === null && child.signalCode === null
  const port = () => /^Latchkey listens on http:\/\/\S+:(\d+)$/m.exec(said.join(''))?.[1]
  if (!await becomesTrue(() => link.test(errors.join('')) || !isAlive(), 60_000) ||
    port() === undefined) throw new Error(`the server did not start: ${said.join('')}${errors.join('')}`)
  return {
    port: Number(port()),
    mailFolder: join(folder, 'mail'),
    setupToken: () => link.exec(errors.join(''))?.[1],
    isAlive,
    command: async (
      name: string,
      ...args: string[]
    ) => (await promisify(execFile)(process.execPath, [join(root, 'dist/src/cli.js'), name, ...args], { cwd: root, env })).stdout,
    /** Stops it and returns everything it wrote to stdout and stderr, but for the link that makes the first administrator. */
    async end (): Promise<string> {
      child.kill('SIGTERM')
      await exited
      return said.join('') + errors.join('').replace(link, '')
    }
  }
}
