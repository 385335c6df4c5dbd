import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { createTestDatabase, findPostgres, hasRedisServer, type RedisServer, startRedis } from '../test/fixtures/servers.js'
import { type Cores, chooseCores, pin, pinned } from './machine.js'

export interface Child {
  process: ChildProcess
  /** The child's next message; rejects if the child ends first. */
  message<T> (): Promise<T>
  stop (): Promise<void>
}

/** Everything a run has started; `close` ends it, newest first. */
export type Machinery = Awaited<ReturnType<typeof createMachinery>>

/** Throws if PostgreSQL doesn't answer or redis-server is not installed. */
export async function createMachinery () {
  const cores: Cores = chooseCores()
  const server = await findPostgres()
  if (server === null) throw new Error(
    'PostgreSQL does not answer: start it, or set TEST_DATABASE_URL to a server where databases may be created'
  )
  if (!hasRedisServer) throw new Error('there is no redis-server on the PATH: install it')
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
  const endings: Array<() => Promise<void>> = [async () => { rmSync(folder, { recursive: true, force: true }) }]
  // The clients of logins and logouts run in this process.
  pin(cores.load, process.pid)

  return {
    cores,
    folder,
    /** Runs `ending` at the end. */
    atEnd (ending: () => Promise<void>): void { endings.push(ending) },

    async database (): Promise<string> {
      const { url, drop } = await createTestDatabase(server)
      endings.push(drop)
      return url
    },

    /** A database without our tables. */
    async emptyDatabase (): Promise<string> {
      const { url, drop } = await createEmptyDatabase(server)
      endings.push(drop)
      return url
    },

    async redis (): Promise<RedisServer> {
      const redis = await startRedis()
      endings.push(() => redis.kill())
      pin(cores.redis, redis.pid)
      return redis
    },

    /** A Node process on `core` with a message channel. Its stdout is discarded; its stderr is shown if it ends early. */
    start (core: string | null, args: string[], env: Record<string, string> = {}): Child {
      const [command, all] = pinned(core, process.execPath, args)
      const child = spawn(command, all, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], env: { ...withoutServers(process.env), ...env } })
      let errors = ''
      child.stderr?.setEncoding('utf8').on('data', text => { errors = (errors + text).slice(-4_000) })
      const gone = new Promise<void>(resolve => child.once('exit', () => resolve()))
      const stop = async () => {
        child.kill('SIGTERM')
        const impatience = setTimeout(() => child.kill('SIGKILL'), 12_000)
        await gone
        clearTimeout(impatience)
      }
      endings.push(stop)
      return {
        process: child,
        stop,
        message: <T>() => new Promise<T>((resolve, reject) => {
          const early = () => reject(new Error(`${args[0]} ended too early\n${errors}`))
          child.once('exit', early)
          child.once('message', message => { child.off('exit', early); resolve(message as T) })
        })
      }
    },

    async close (): Promise<void> {
      for (const ending of endings.splice(0).reverse()) await ending().catch((error: unknown) => console.error(error))
    }
  }
}

async function createEmptyDatabase (server: string): Promise<{ url: string, drop (): Promise<void> }> {
  const name = `latchkey_bench_${process.pid}_${randomBytes(4).toString('hex')}`
  const run = async (text: string) => {
    const sql = postgres(server, { max: 1, onnotice: () => {} })
    await sql.unsafe(text).finally(() => sql.end({ timeout: 1 }))
  }
  await run(`create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return { url: url.href, drop: () => run(`drop database if exists ${name} with (force)`) }
}

/** The developer's own variables must not affect the measurement. */
function withoutServers (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { DATABASE_URL: _database, REDIS_URL: _redis, NODE_ENV: _mode, NODE_OPTIONS: _options, ...rest } = env
  return rest
}

/** Runs `work` and takes everything down afterwards, on SIGINT and SIGTERM too. */
export async function withMachinery (work: (machinery: Machinery) => Promise<void>): Promise<void> {
  const machinery = await createMachinery()
  const interrupted = () => { void machinery.close().finally(() => process.exit(130)) }
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
  try {
    await work(machinery)
  } finally {
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted)
    await machinery.close()
  }
}
