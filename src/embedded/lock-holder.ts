import { createHash, randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { basename, join } from 'node:path'
import { isServing } from './command-client.js'
import { findBootId, findStartTime, isRunning } from './process-identity.js'
import { isListening, listenPrivately } from './unix-socket.js'

/** What the process that holds a data folder does. */
export type Purpose = 'server' | 'command'

/** The process that holds, or held, a data folder, as its lock file describes it. `pid` is null if the file could not be read. */
export type Holder = { nonce: string, pid: number | null, purpose: Purpose, startedAt: string | null, bootId: string | null }

// Distinguishes our own locks from those of an earlier process with our pid: in a container every server is pid 1.
const ownNonces = new Set<string>()

/** Describes this process as a holder of `dir`, and lets other processes see that it is alive until `stop` is called. */
export async function createHolder (dir: string, purpose: Purpose): Promise<{ holder: Holder, stop (): Promise<void> }> {
  const holder: Holder = {
    nonce: randomBytes(8).toString('hex'),
    pid: process.pid,
    purpose,
    startedAt: await findStartTime(process.pid),
    bootId: await findBootId()
  }
  ownNonces.add(holder.nonce)
  const closeSocket = await listenWhileAlive(dir, holder)
  return {
    holder,
    async stop () {
      await closeSocket()
      ownNonces.delete(holder.nonce)
    }
  }
}

// A socket without a protocol: the kernel accepts connections for as long as this process exists. Other containers, to which our pid means
// nothing, see by it that a server is alive before it serves commands, and so is a command, which never serves any.
async function listenWhileAlive (dir: string, me: Holder): Promise<() => Promise<void>> {
  const path = aliveSocketPath(dir, me)
  const server = createServer(socket => socket.destroy())
  try {
    await listenPrivately(server, path)
  } catch {
    // Some mounted folders cannot hold sockets, and a path may be too long for one. Processes that see the same pids can still check ours.
    server.close()
    return async () => {}
  }
  server.unref()
  return async () => {
    await new Promise<void>(resolve => server.close(() => resolve()))
    await rm(path, { force: true })
  }
}

/** Whether a live process holds the folder; `holder` is the last one in the chain of its lock files. */
export async function isAlive (dir: string, holder: Holder | null): Promise<boolean> {
  // Sockets also reach a holder in another container, whose pid means nothing here, and one that is suspended.
  if (await isServing(dir)) return true
  if (holder === null) return false
  if (await isListening(aliveSocketPath(dir, holder))) return true

  if (holder.pid === null) return false
  if (holder.pid === process.pid) return ownNonces.has(holder.nonce)
  const bootId = await findBootId()
  if (bootId !== null && holder.bootId !== null && bootId !== holder.bootId) return false
  return await isRunning(holder.pid, holder.startedAt)
}

/** The socket on which a holder listens while it is alive. */
export function aliveSocketPath (dir: string, { nonce }: Holder): string {
  return join(dir, `latchkey.${nonce}.alive`)
}

/** The holder that a lock file describes; one without a pid if its text is damaged. */
export function parseHolder (text: string, path: string): Holder {
  try {
    const value: unknown = JSON.parse(text)
    if (isHolder(value)) return value
  } catch {}
  // Even after a damaged lock file the chain goes on, so it needs a nonce: the same for every reader, and another one for each file.
  const nonce = createHash('sha256').update(`${basename(path)}\n${text}`).digest('hex').slice(0, 16)
  return { nonce, pid: null, purpose: 'server', startedAt: null, bootId: null }
}

function isHolder (value: unknown): value is Holder {
  if (typeof value !== 'object' || value === null) return false
  const { nonce, pid, purpose, startedAt, bootId } = value as Record<string, unknown>
  return typeof nonce === 'string' && /^[0-9a-f]{16}$/.test(nonce) &&
    // `kill` takes zero and negative numbers for groups of processes.
    Number.isSafeInteger(pid) && Number(pid) > 0 &&
    (purpose === 'server' || purpose === 'command') &&
    (startedAt === null || typeof startedAt === 'string') &&
    (bootId === null || typeof bootId === 'string')
}
