import { createHash, randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { basename, join } from 'node:path'
import { isServing } from './command-client.js'
import { findBootId, findStart, isRunning } from './process-identity.js'
import { isListening, listenPrivately } from './unix-socket.js'

export type Purpose = 'server' | 'command'

/** A process that has, or had, a data folder, as its lock says. */
export type Holder = { nonce: string, pid: number | null, purpose: Purpose, startedAt: string | null, bootId: string | null }

// What tells our own locks from those of an earlier process that had our pid, as pid 1 of a container always does.
const held = new Set<string>()

/** This process as a holder to be, which others can see alive until it has ceased to be one. */
export async function becomeHolder (dir: string, purpose: Purpose): Promise<{ holder: Holder, cease (): Promise<void> }> {
  const holder: Holder = {
    nonce: randomBytes(8).toString('hex'),
    pid: process.pid,
    purpose,
    startedAt: await findStart(process.pid),
    bootId: await findBootId()
  }
  held.add(holder.nonce)
  const stopShowingLife = await showLife(dir, holder)
  return {
    holder,
    async cease () {
      await stopShowingLife()
      held.delete(holder.nonce)
    }
  }
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

/** Whether the folder has a living holder; `holder` is who its lock names last. */
export async function isAlive (dir: string, holder: Holder | null): Promise<boolean> {
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

/** The socket at which a holder shows that it lives. */
export function lifePath (dir: string, { nonce }: Holder): string {
  return join(dir, `latchkey.${nonce}.alive`)
}

/** What a lock says. */
export function parseHolder (text: string, seat: string): Holder {
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
