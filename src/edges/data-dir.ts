import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { basename, join, resolve } from 'node:path'
import { isListening, isServing, listenPrivately } from './command-socket.js'

/** The sole use of a data folder; `release` may be called twice, and after the folder's command socket is closed. */
export type DataDirClaim = { dir: string, release (): Promise<void> }

type Purpose = 'server' | 'command'
type Holder = { nonce: string, pid: number | null, purpose: Purpose, startedAt: string | null, bootId: string | null }
type Row = { seat: string, last: Holder | null, left: string[] }

const LOCK_NAME = 'latchkey.lock'
const MAX_ATTEMPTS = 1_000
const NO_HARD_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']

// What tells our own locks from those of an earlier process that had our pid, as pid 1 of a container always does.
const held = new Set<string>()

/** Another process uses the data folder; `pid` is null where only its socket tells of it, and its own number in its own container. */
export class DataDirInUseError extends Error {
  readonly dir: string
  readonly pid: number | null

  constructor (dir: string, pid: number | null, purpose: Purpose) {
    const who = pid === null ? 'another process' : `process ${pid}`
    super(purpose === 'server'
      ? `The data folder ${dir} is in use by a running server (${who}): stop that one, or choose another DATA_DIR.`
      : `The data folder ${dir} is in use by a running command (${who}): wait until it ends, or choose another DATA_DIR.`)
    this.name = 'DataDirInUseError'
    this.dir = dir
    this.pid = pid
  }
}

/**
 * Takes a data folder for this process alone, and makes it (0700) where it is missing.
 * Throws `DataDirInUseError` while a living process has it; what a dead one left is taken over.
 */
export async function claimDataDir (dir: string, purpose: Purpose): Promise<DataDirClaim> {
  const folder = resolve(dir)
  await mkdir(folder, { recursive: true, mode: 0o700 })

  const me: Holder = {
    nonce: randomBytes(8).toString('hex'),
    pid: process.pid,
    purpose,
    startedAt: await findStart(process.pid),
    bootId: await findBootId()
  }
  held.add(me.nonce)
  const stopShowingLife = await showLife(folder, me)
  try {
    await takeSeat(folder, me)
  } catch (error) {
    await stopShowingLife()
    held.delete(me.nonce)
    throw error
  }

  async function release () {
    const lock = join(folder, LOCK_NAME)
    const text = await read(lock)
    if (text !== null && parseHolder(text, lock).nonce === me.nonce) await rm(lock, { force: true })
    await stopShowingLife()
    held.delete(me.nonce)
  }

  let releasing: Promise<void> | undefined
  return { dir: folder, release: () => (releasing ??= release()) }
}

// The lock is a row of seats: the lock file, then for each holder one seat named after its nonce. The last one seated holds the
// folder; when it is dead, the seat after it is free. A seat is taken by `link`, which one process alone can do and which shows
// the file only when it is whole. A nonce never comes back, so a starter that looked too early takes a seat that is no longer
// part of the row, sees so, and looks again: there is no guard that could itself be left behind.
async function takeSeat (dir: string, me: Holder): Promise<void> {
  const lock = join(dir, LOCK_NAME)
  const draft = `${lock}.${me.nonce}.new`
  await writeFile(draft, JSON.stringify(me), { flag: 'wx', mode: 0o600 })
  try {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const { seat, last, left } = await walkRow(dir)
      if (await isAlive(dir, last)) {
        const now = (await walkRow(dir)).last
        if (now?.nonce !== last?.nonce) continue
        throw new DataDirInUseError(dir, last?.pid ?? null, last?.purpose ?? 'server')
      }

      if (!await tryLink(draft, seat)) continue
      if ((await walkRow(dir)).last?.nonce !== me.nonce) {
        await rm(seat, { force: true })
        continue
      }

      // From here on nobody else can be seated: we are the last one, and alive.
      if (seat !== lock) await rename(seat, lock)
      await Promise.all(left.map(path => rm(path, { force: true })))
      return
    }
    throw new Error(`The data folder ${dir} changes hands without end: is something else writing ${LOCK_NAME} there?`)
  } finally {
    await rm(draft, { force: true })
  }
}

// `left` is what the dead of the row leave behind, the lock file itself apart.
async function walkRow (dir: string): Promise<Row> {
  const left: string[] = []
  const lock = join(dir, LOCK_NAME)
  let seat = lock
  let last: Holder | null = null
  for (let text = await read(seat); text !== null; text = await read(seat)) {
    last = parseHolder(text, seat)
    if (seat !== lock) left.push(seat)
    left.push(lifePath(dir, last))
    seat = `${lock}.after-${last.nonce}`
  }
  return { seat, last, left }
}

async function tryLink (draft: string, seat: string): Promise<boolean> {
  try {
    await link(draft, seat)
    return true
  } catch (error) {
    const code = codeOf(error)
    if (code === 'EEXIST') return false
    if (code === undefined || !NO_HARD_LINKS.includes(code)) throw error
    throw new Error(`The lock ${seat} cannot be made (${code}): DATA_DIR must be on a local disk that knows hard links.`)
  }
}

async function isAlive (dir: string, holder: Holder | null): Promise<boolean> {
  // A socket also reaches a holder in another container, whose pid means nothing here, and a frozen one.
  if (await isServing(dir)) return true
  if (holder === null) return false
  if (await isListening(lifePath(dir, holder))) return true

  if (holder.pid === null) return false
  if (holder.pid === process.pid) return held.has(holder.nonce)
  const bootId = await findBootId()
  if (bootId !== null && holder.bootId !== null && bootId !== holder.bootId) return false
  return await isRunning(holder.pid, holder.startedAt)
}

// A socket that nobody talks to: the kernel answers for us from before the lock is taken until this process is gone. It covers,
// across containers, a server that does not serve commands yet and a command that never does.
async function showLife (dir: string, me: Holder): Promise<() => Promise<void>> {
  const path = lifePath(dir, me)
  const server = createServer(socket => socket.destroy())
  try {
    await listenPrivately(server, path)
  } catch {
    // Not every mounted folder takes sockets, nor any a path too long; the pid still tells, to all that see the same processes.
    server.close()
    return async () => {}
  }
  server.unref()
  return async () => {
    await new Promise<void>(resolve => server.close(() => resolve()))
    await rm(path, { force: true })
  }
}

function lifePath (dir: string, { nonce }: Holder): string {
  return join(dir, `latchkey.${nonce}.alive`)
}

async function isRunning (pid: number, startedAt: string | null): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (codeOf(error) !== 'EPERM') return false
  }
  const start = await findStart(pid)
  return start === null || startedAt === null || start === startedAt
}

// When the process started, in whatever unit this system counts; 'dead', which no lock says, for a zombie; null where nothing tells.
async function findStart (pid: number): Promise<string | null> {
  const stat = await read(`/proc/${pid}/stat`)
  if (stat === null) return await askPs(pid)
  // The name in parentheses may hold spaces and parentheses of its own: the fields are counted from the last one, the state first.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? 'dead' : fields[19] ?? null
}

async function askPs (pid: number): Promise<string | null> {
  // The answer must not depend on who asks: its words follow the locale, its hours the time zone.
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }
  return await new Promise(resolve => {
    execFile('ps', ['-o', 'lstart=', '-p', String(pid)], { env, timeout: 5_000 }, (error, stdout) => {
      resolve(error ? null : stdout.trim() || null)
    })
  })
}

async function findBootId (): Promise<string | null> {
  return (await read('/proc/sys/kernel/random/boot_id'))?.trim() ?? null
}

function parseHolder (text: string, seat: string): Holder {
  try {
    const value: unknown = JSON.parse(text)
    if (isHolder(value)) return value
  } catch {}
  // A lock that cannot be read still needs a seat after it: the same one for everybody, and another one in each place of the row.
  const nonce = createHash('sha256').update(`${basename(seat)}\n${text}`).digest('hex').slice(0, 16)
  return { nonce, pid: null, purpose: 'server', startedAt: null, bootId: null }
}

function isHolder (value: unknown): value is Holder {
  if (typeof value !== 'object' || value === null) return false
  const { nonce, pid, purpose, startedAt, bootId } = value as Record<string, unknown>
  return typeof nonce === 'string' && /^[0-9a-f]{16}$/.test(nonce) &&
    // Zero and negative numbers name groups of processes to `kill`.
    Number.isSafeInteger(pid) && Number(pid) > 0 &&
    (purpose === 'server' || purpose === 'command') &&
    (startedAt === null || typeof startedAt === 'string') &&
    (bootId === null || typeof bootId === 'string')
}

async function read (path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const code = codeOf(error)
    // ESRCH: the process ended between the opening of its file in /proc and the reading.
    if (code === 'ENOENT' || code === 'ESRCH') return null
    throw error
  }
}

function codeOf (error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined
}
