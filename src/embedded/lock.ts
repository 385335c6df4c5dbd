import { link, mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { becomeHolder, type Holder, isAlive, lifePath, type Purpose, parseHolder } from './lock-holder.js'
import { codeOf, readIfThere } from './optional-file.js'

/** The sole use of a data folder; `release` may be called twice, and after the folder's command socket is closed. */
export type DataDirClaim = { dir: string, release (): Promise<void> }

type Row = { seat: string, last: Holder | null, left: string[] }

const lockName = 'latchkey.lock'
const maxAttempts = 1_000
const noHardLinks = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']

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

  const me = await becomeHolder(folder, purpose)
  try {
    await takeSeat(folder, me.holder)
  } catch (error) {
    await me.cease()
    throw error
  }

  async function release () {
    const lock = join(folder, lockName)
    const text = await readIfThere(lock)
    if (text !== null && parseHolder(text, lock).nonce === me.holder.nonce) await rm(lock, { force: true })
    await me.cease()
  }

  let releasing: Promise<void> | undefined
  return { dir: folder, release: () => (releasing ??= release()) }
}

// The lock is a row of seats: the lock file, then for each holder one seat named after its nonce. The last one seated holds the
// folder; when it is dead, the seat after it is free. A seat is taken by `link`, which one process alone can do and which shows
// the file only when it is whole. A nonce never comes back, so a starter that looked too early takes a seat that is no longer
// part of the row, sees so, and looks again: there is no guard that could itself be left behind.
async function takeSeat (dir: string, me: Holder): Promise<void> {
  const lock = join(dir, lockName)
  const draft = `${lock}.${me.nonce}.new`
  await writeFile(draft, JSON.stringify(me), { flag: 'wx', mode: 0o600 })
  try {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
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
    throw new Error(`The data folder ${dir} changes hands without end: is something else writing ${lockName} there?`)
  } finally {
    await rm(draft, { force: true })
  }
}

// `left` is what the dead of the row leave behind, the lock file itself apart.
async function walkRow (dir: string): Promise<Row> {
  const left: string[] = []
  const lock = join(dir, lockName)
  let seat = lock
  let last: Holder | null = null
  for (let text = await readIfThere(seat); text !== null; text = await readIfThere(seat)) {
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
    if (code === undefined || !noHardLinks.includes(code)) throw error
    throw new Error(`The lock ${seat} cannot be made (${code}): DATA_DIR must be on a local disk that knows hard links.`)
  }
}
