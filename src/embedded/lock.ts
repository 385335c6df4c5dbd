import { link, mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { aliveSocketPath, createHolder, type Holder, isAlive, type Purpose, parseHolder } from './lock-holder.js'
import { errorCode, readOptionalFile } from './optional-file.js'

/** The exclusive use of a data folder. `release` may be called twice, and after the folder's command socket is closed. */
export type DataDirClaim = { dir: string, release (): Promise<void> }

/** The lock files of a folder in order: where the next one goes, who holds the last one, and what to delete once that holder is gone. */
type Chain = { nextPath: string, last: Holder | null, leftovers: string[] }

const lockName = 'latchkey.lock'
const maxAttempts = 1_000
const noHardLinks = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']

/** Another process uses the data folder. `pid` is null if only its socket was found; in another container it is that container's pid. */
export class DataDirInUseError extends Error {
  override name = 'DataDirInUseError'
  readonly dir: string
  readonly pid: number | null

  constructor (dir: string, pid: number | null, purpose: Purpose) {
    const who = pid === null ? 'another process' : `process ${pid}`
    super(purpose === 'server'
      ? `The data folder ${dir} is in use by a running server (${who}): stop that one, or choose another DATA_DIR.`
      : `The data folder ${dir} is in use by a running command (${who}): wait until it ends, or choose another DATA_DIR.`)
    this.dir = dir
    this.pid = pid
  }
}

/**
 * Locks a data folder for this process, and creates it (0700) if it is missing. Throws `DataDirInUseError` while another live process
 * holds it; the lock of a dead one is taken over.
 */
export async function claimDataDir (dir: string, purpose: Purpose): Promise<DataDirClaim> {
  const folder = resolve(dir)
  await mkdir(folder, { recursive: true, mode: 0o700 })

  const me = await createHolder(folder, purpose)
  try {
    await takeLock(folder, me.holder)
  } catch (error) {
    await me.stop()
    throw error
  }

  async function release () {
    const lock = join(folder, lockName)
    const text = await readOptionalFile(lock)
    if (text !== null && parseHolder(text, lock).nonce === me.holder.nonce) await rm(lock, { force: true })
    await me.stop()
  }

  let releasing: Promise<void> | undefined
  return { dir: folder, release: () => (releasing ??= release()) }
}

// The lock is a chain of files: latchkey.lock, then for each holder a file named after its nonce, created by the process that took over.
// The last holder owns the folder; once it is dead, any process may append a file. `link` creates it: it succeeds for one process only, and
// the file is complete as soon as it is visible. A nonce is never used twice: a process that decided on an outdated chain appends to a file
// that is no longer part of it, notices when it reads the chain again, and starts over. No second lock is needed that a crash could leave.
async function takeLock (dir: string, me: Holder): Promise<void> {
  const lock = join(dir, lockName)
  const draft = `${lock}.${me.nonce}.new`
  await writeFile(draft, JSON.stringify(me), { flag: 'wx', mode: 0o600 })
  try {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const { nextPath, last, leftovers } = await readChain(dir)
      if (await isAlive(dir, last)) {
        const now = (await readChain(dir)).last
        if (now?.nonce !== last?.nonce) continue
        throw new DataDirInUseError(dir, last?.pid ?? null, last?.purpose ?? 'server')
      }

      if (!await tryLink(draft, nextPath)) continue
      if ((await readChain(dir)).last?.nonce !== me.nonce) {
        await rm(nextPath, { force: true })
        continue
      }

      // From here on nobody can append: we are the last holder, and alive.
      if (nextPath !== lock) await rename(nextPath, lock)
      await Promise.all(leftovers.map(path => rm(path, { force: true })))
      return
    }
    throw new Error(`The lock of the data folder ${dir} keeps changing: does another program write ${lockName} there?`)
  } finally {
    await rm(draft, { force: true })
  }
}

async function readChain (dir: string): Promise<Chain> {
  const leftovers: string[] = []
  const lock = join(dir, lockName)
  let nextPath = lock
  let last: Holder | null = null
  for (let text = await readOptionalFile(nextPath); text !== null; text = await readOptionalFile(nextPath)) {
    last = parseHolder(text, nextPath)
    // The first file stays: the new holder's is renamed over it.
    if (nextPath !== lock) leftovers.push(nextPath)
    leftovers.push(aliveSocketPath(dir, last))
    nextPath = `${lock}.after-${last.nonce}`
  }
  return { nextPath, last, leftovers }
}

async function tryLink (draft: string, path: string): Promise<boolean> {
  try {
    await link(draft, path)
    return true
  } catch (error) {
    const code = errorCode(error)
    if (code === 'EEXIST') return false
    if (code === undefined || !noHardLinks.includes(code)) throw error
    throw new Error(`The lock ${path} cannot be created (${code}): DATA_DIR must be on a local disk that supports hard links.`)
  }
}
