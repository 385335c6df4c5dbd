import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { loadConfig } from '../../src/config/config.js'
import { becomesTrue, password, skipMissing } from '../fixtures/app.js'
import { startOwnPostgres } from '../fixtures/own-postgres.js'
import { findPostgresPrograms } from '../fixtures/postgres-programs.js'
import { freePort, hasRedisServer, isInstalled, startRedis } from '../fixtures/servers.js'
import { type Built, buildByHand, listOf } from './dockerfile.js'

/** The steps of Dockerfile and compose.yaml without a container engine: same files, same variables, same user. */

const root = fileURLToPath(new URL('../..', import.meta.url))
interface Service {
  command: string[]
  environment: Record<string, string | null>
  healthcheck: { test: string[] }
  stop_grace_period: string
  secrets: string[]
}
const compose = parse(readFileSync(join(root, 'compose.yaml'), 'utf8')) as {
  services: Record<'api' | 'redis' | 'postgres', Service>
  secrets: Record<string, { file: string }>
}
const { api, redis } = compose.services
/** As an image runs: with a user that owns no files. */
const stranger = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}

t.test('the image, built and run by hand', { timeout: 580_000 }, async t => {
  const bin = findPostgresPrograms()
  if (bin === null || !hasRedisServer) return skipMissing(t, 'needs initdb, postgres and redis-server: install PostgreSQL and Redis')
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-deploy-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  chmodSync(folder, 0o755)
  const image = await buildByHand(root, folder)
  const app = join(image.root, image.workdir)
  execFileSync('chmod', ['-R', 'a-w', app])

  t.test('it holds what is needed at run time, and no sources, tests or tools', async t => {
    t.strictSame(readdirSync(app).sort(), ['db', 'dist', 'node_modules', 'package.json'])
    const installed = readdirSync(join(app, 'node_modules'))
    for (const tool of ['typescript', 'tap', 'tsx', 'drizzle-kit']) t.notOk(installed.includes(tool), tool)
    t.match(image.instructions.findLast(({ name }) => name === 'USER')?.rest, /^[1-9]\d*:[1-9]\d*$/, 'not root')
  })

  const secrets = makeSecrets(t, folder)
  const postgres = await startOwnPostgres(bin)
  t.teardown(postgres.stop)
  for (const statement of [
    `create role latchkey login password '${secrets.read('postgres_password')}'`,
    'create database latchkey owner latchkey'
  ]) execFileSync(join(bin, 'psql'), ['-qw', '-d', postgres.url, '-c', statement])
  const cache = await startRedis({ args: redis.command.slice(1).map(arg => arg.replace('/run/secrets', secrets.folder)) })
  t.teardown(() => cache.kill())
  secrets.replace('database_url', 'postgres:5432', `127.0.0.1:${postgres.port}`)
  secrets.replace('redis_url', 'redis:6379', `127.0.0.1:${cache.port}`)

  t.test("Redis answers the health check of compose.yaml without a password, and nothing else", {
    skip: isInstalled('redis-cli') ? false : 'needs redis-cli'
  }, async t => {
    const ask = (...args: string[]) => execFileSync('redis-cli', ['-p', String(cache.port), ...args], { encoding: 'utf8' }).trim()
    t.strictSame(redis.healthcheck.test, ['CMD', 'redis-cli', 'ping'])
    t.equal(ask('ping'), 'PONG')
    t.match(ask('get', 'lk:x'), /NOPERM/)
  })

  const port = await freePort()
  const env = {
    PATH: process.env.PATH ?? '',
    ...image.env,
    ...Object.fromEntries(Object.entries(api.environment).filter((entry): entry is [string, string] => entry[1] !== null)
      .map(([name, value]) => [name, String(value).replace('/run/secrets', secrets.folder)])),
    PORT: String(port),
    HOST: '127.0.0.1'
  }
  const [healthCommand = '', ...healthArgs] = listOf(image, 'HEALTHCHECK')
  const healthy = async () =>
    (await promisify(execFile)(healthCommand, healthArgs, { env }).then(() => 0, (error: { code: number }) => error.code))

  t.test('it runs as a user without write access, with secrets from files', async t => {
    t.equal(await healthy(), 1, 'the health check fails before the server listens')
    const server = await run(t, image, env)
    t.equal(await becomesTrue(async () => await healthy() === 0, 60_000), true, `the health check passes: ${server.output()}`)
    const base = `http://127.0.0.1:${port}`
    t.equal(
      await becomesTrue(async () => (await (await fetch(`${base}/health/ready`)).json() as { status: string }).status === 'ok', 60_000),
      true,
      'with PostgreSQL and Redis'
    )
    const registered = await fetch(
      `${base}/v1/register`,
      { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ email: 'ada@example.com', password }) }
    )
    t.equal(registered.status, 201)
    const { accessToken } = await registered.json() as { accessToken: string }
    t.equal((await fetch(`${base}/v1/me`, { headers: { authorization: `Bearer ${accessToken}` } })).status, 200)

    const { stdout } = await promisify(execFile)(
      'env',
      [...only(env), 'node', 'dist/src/cli.js', 'tokens:stats', '--json'],
      { cwd: app, ...stranger }
    )
    t.match(JSON.parse(stdout), { database: {} }, 'and so does a command')

    const { code, ms } = await server.end()
    t.equal(code, 0, server.output())
    t.ok(ms < seconds(api.stop_grace_period) * 1_000, `it ended in ${Math.round(ms)} ms`)
    for (const name of [
      'postgres_password',
      'redis_url',
      'smtp_url'
    ]) t.notOk(server.output().includes(secrets.read(name)), `${name} is in no line`)
    if (process.getuid?.() === 0) t.strictSame(writtenBy(folder), [], 'and it wrote no file')
  })

  t.test('compose.yaml waits longer for the container to stop than a shutdown may take', async t => {
    const { drainDelaySeconds } = loadConfig({})
    t.ok(seconds(api.stop_grace_period) > drainDelaySeconds + 8)
  })
})

/** Runs a copy of deploy/make-secrets and returns the folder it creates. */
function makeSecrets (t: Test, folder: string) {
  const there = join(folder, 'checkout')
  mkdirSync(join(there, 'deploy'), { recursive: true })
  const script = join(there, 'deploy/make-secrets')
  cpSync(join(root, 'deploy/make-secrets'), script)
  execFileSync(script, { input: 'smtps://user:hidden-word@mail.example.com\n' })
  const secrets = join(there, 'secrets')
  t.equal(statSync(secrets).mode & 0o777, 0o700, 'only its owner can open the folder')
  t.throws(() => execFileSync(script, { input: 'x\n', stdio: ['pipe', 'ignore', 'ignore'] }), 'made once')
  t.strictSame(
    readdirSync(secrets).map(name => `secrets/${name}`).sort(),
    Object.values(compose.secrets).map(({ file }) => file).sort(),
    'those of compose.yaml'
  )
  // In a container the secrets are in a different folder.
  chmodSync(secrets, 0o755)
  const path = (name: string) => join(secrets, name)
  return {
    folder: secrets,
    read: (name: string) => readFileSync(path(name), 'utf8'),
    replace: (name: string, from: string, to: string) => writeFileSync(path(name), readFileSync(path(name), 'utf8').replace(from, to))
  }
}

async function run (t: Test, image: Built, env: Record<string, string>) {
  const [command = '', ...args] = listOf(image, 'CMD')
  const child: ChildProcess = spawn(
    'env',
    [...only(env), command, ...args],
    { cwd: join(image.root, image.workdir), ...stranger, stdio: ['ignore', 'pipe', 'pipe'] }
  )
  t.teardown(() => { child.kill('SIGKILL') })
  let text = ''
  child.stdout?.on('data', chunk => { text += String(chunk) })
  child.stderr?.on('data', chunk => { text += String(chunk) })
  const gone = once(child, 'close')
  return {
    output: () => text,
    async end () {
      const sentAt = performance.now()
      child.kill('SIGTERM')
      const [code] = await gone
      return { code: code as number | null, ms: performance.now() - sentAt }
    }
  }
}

/** Arguments for env(1): tap would otherwise add variables to the child's environment that the image doesn't have. */
const only = (env: Record<string, string>): string[] => ['-i', ...Object.entries(env).map(([name, value]) => `${name}=${value}`)]

const seconds = (duration: string): number => Number(/^(\d+)s$/.exec(duration)?.[1])

/** Files below `folder` that belong to the user of the image. */
function writtenBy (folder: string): string[] {
  return execFileSync('find', [folder, '-user', String(stranger.uid)], { encoding: 'utf8' }).split('\n').filter(line => line !== '')
}
