import { execFileSync, spawn } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createTestDatabase, findPostgres, freePort } from '../fixtures/servers.js'

/** The PostgreSQL of a fault run: of its own where initdb is found, else the tests' server, which can't be frozen. */
export interface PostgresServer {
  port: number
  /** The database's URL by way of `port`, a proxy's. */
  urlThrough (port: number): string
  url: string
  /** Stops and continues every process of the server; null where it isn't ours. */
  freeze: ((frozen: boolean) => void) | null
  stop (): Promise<void>
}

/** Null where neither initdb nor a server is to be found. */
export async function startPostgres (): Promise<PostgresServer | null> {
  const bin = findBinaries()
  const own = bin === null ? null : await startOwn(bin)
  const server = own?.url ?? await findPostgres()
  if (server === null) return null
  const { url, drop } = await createTestDatabase(server)
  return {
    port: Number(new URL(url).port || 5432),
    url,
    urlThrough (port) {
      const through = new URL(url)
      through.hostname = '127.0.0.1'
      through.port = String(port)
      return through.href
    },
    freeze: own?.freeze ?? null,
    async stop () {
      if (own === null) await drop()
      else await own.stop()
    }
  }
}

function findBinaries (): string | null {
  const debian = '/usr/lib/postgresql'
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : []
  return [configured(), ...versions.map(version => join(debian, version, 'bin'))]
    .find(folder => folder !== null && existsSync(join(folder, 'initdb')) && existsSync(join(folder, 'postgres'))) ?? null
}

function configured (): string | null {
  try {
    return execFileSync('pg_config', ['--bindir'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return null
  }
}

async function startOwn (bin: string) {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-faults-postgres-'))
  const owner = ownerOfPostgres()
  if (owner !== null) chownSync(dir, owner.uid, owner.gid)
  const data = join(dir, 'data')
  execFileSync(join(bin, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'], { ...owner, cwd: dir, stdio: 'ignore' })
  const port = await freePort()
  const child = spawn(join(bin, 'postgres'), ['-D', data, '-p', String(port), '-k', dir, '-c', 'listen_addresses=127.0.0.1', '-c', 'fsync=off', '-c', 'max_connections=200'],
    { ...owner, cwd: dir, stdio: 'ignore' })
  const gone = new Promise<void>(resolve => child.once('exit', () => resolve()))
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  const pid = child.pid as number

  function signal (name: NodeJS.Signals): void {
    for (const member of [pid, ...childrenOf(pid)]) {
      try {
        process.kill(member, name)
      } catch {
        // It ended by itself meanwhile.
      }
    }
  }

  async function stop (): Promise<void> {
    signal('SIGCONT')
    child.kill('SIGINT')
    const forced = setTimeout(() => child.kill('SIGQUIT'), 5_000)
    await gone
    clearTimeout(forced)
    rmSync(dir, { recursive: true, force: true })
  }

  for (let i = 0; i < 200; i++) {
    if (isReady(bin, port)) return { url, stop, freeze: (frozen: boolean) => signal(frozen ? 'SIGSTOP' : 'SIGCONT') }
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  await stop()
  throw new Error('PostgreSQL did not start')
}

/** PostgreSQL refuses to run as root. */
function ownerOfPostgres (): { uid: number, gid: number } | null {
  if (process.getuid?.() !== 0) return null
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

function isReady (bin: string, port: number): boolean {
  try {
    execFileSync(join(bin, 'pg_isready'), ['-q', '-h', '127.0.0.1', '-p', String(port)])
    return true
  } catch {
    return false
  }
}

function childrenOf (parent: number): number[] {
  return execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).split('\n')
    .map(line => line.trim().split(/\s+/).map(Number)).filter(([, ppid]) => ppid === parent).map(([pid]) => pid as number)
}
