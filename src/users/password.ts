import { createHmac } from 'node:crypto'
import { availableParallelism } from 'node:os'
import bcrypt from 'bcrypt'
import PQueue from 'p-queue'
import { UnavailableError } from '../errors.js'

/** Waiting hashes a worker: at cost 12 about 16 s. Past it a client is better told to come back. */
const waitingPerWorker = 64

/** Slow hashes of passwords: bcrypt over a keyed SHA-384, so that bcrypt's 72 bytes and its end at NUL don't matter. */
export type Passwords = Awaited<ReturnType<typeof createPasswords>>

/** `key` is the database's own, kept apart from the hashes. `cost` as in BCRYPT_COST. */
export async function createPasswords ({ key, cost }: { key: Buffer, cost: number }) {
  // bcrypt runs in libuv's threads. One core is left to the requests, however many people log in.
  const queue = new PQueue({ concurrency: Math.max(1, availableParallelism() - 1) })
  const nobody = await bcrypt.hash(digest('nobody has this password'), cost)

  /** 64 characters of base64; NFC, so that one password typed on two systems is one password (NIST SP 800-63B). */
  function digest (password: string): string {
    return createHmac('sha384', key).update(password.normalize('NFC'), 'utf8').digest('base64')
  }

  async function inTurn<T> (work: () => Promise<T>): Promise<T> {
    if (queue.size >= queue.concurrency * waitingPerWorker) throw Object.assign(new UnavailableError(), { retryAfterSeconds: 5 })
    return await queue.add(work)
  }

  return {
    hash: (password: string): Promise<string> => inTurn(() => bcrypt.hash(digest(password), cost)),

    /** False for null too (nobody of that name), after the same work. */
    verify: (password: string, stored: string | null): Promise<boolean> =>
      inTurn(async () => await bcrypt.compare(digest(password), stored ?? nobody) && stored !== null),

    /** Hashes waiting for a worker. */
    waiting: (): number => queue.size
  }
}
