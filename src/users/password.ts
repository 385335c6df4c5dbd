import { createHmac } from 'node:crypto'
import { availableParallelism } from 'node:os'
import bcrypt from 'bcrypt'
import PQueue from 'p-queue'
import { Durations } from '../observability/durations.js'
import { UnavailableError } from '../shared/errors.js'

/** Waiting hashes a worker: at cost 12 about 16 s. Past it a client is better told to come back. */
const waitingPerWorker = 64

/** Before our own hashes: what has none is plain bcrypt, from elsewhere. */
const marker = 'sha384:'

/** A hash as other systems store it, which a login can open and then replaces. */
export function isPlainBcrypt (hash: string): boolean {
  return /^\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}$/.test(hash)
}

/** Slow hashes of passwords: bcrypt over a keyed SHA-384, so that bcrypt's 72 bytes and its end at NUL don't matter. */
export type Passwords = Awaited<ReturnType<typeof createPasswords>>

/** `key` is the database's own, kept apart from the hashes. `cost` as in BCRYPT_COST. */
export async function createPasswords ({ key, cost }: { key: Buffer, cost: number }) {
  // bcrypt runs in libuv's threads, UV_THREADPOOL_SIZE of them: the requests share each core with one at most.
  const queue = new PQueue({ concurrency: availableParallelism() })
  const work = { durations: new Durations(), refused: 0 }
  const nobody = marker + await bcrypt.hash(digest('nobody has this password'), cost)

  /** 64 characters of base64; NFC, so that one password typed on two systems is one password (NIST SP 800-63B). */
  function digest (password: string): string {
    return createHmac('sha384', key).update(password.normalize('NFC'), 'utf8').digest('base64')
  }

  async function matches (password: string, stored: string): Promise<boolean> {
    // PHP's $2y$ is $2b$ by another name; and so is $2a$, but here it would count a password's length in 8 bits.
    const [presented, hash] = stored.startsWith(marker) ? [digest(password), stored.slice(marker.length)] : [password, stored.replace(/^\$2[ay]\$/, '$2b$')]
    if (await bcrypt.compare(presented, hash)) return true
    // The quick no of a cheaper hash would tell that the account exists. 2^c and then 2^c + … + 2^(cost - 1) is 2^cost: the work of ours.
    for (let rounds = bcrypt.getRounds(hash); rounds < cost; rounds++) await bcrypt.hash('', rounds)
    return false
  }

  async function inTurn<T> (task: () => Promise<T>): Promise<T> {
    if (queue.size >= queue.concurrency * waitingPerWorker) {
      work.refused++
      throw Object.assign(new UnavailableError(), { retryAfterSeconds: 5 })
    }
    return await queue.add(async () => {
      const startedAt = performance.now()
      try {
        return await task()
      } finally {
        work.durations.record(performance.now() - startedAt)
      }
    })
  }

  return {
    hash: (password: string): Promise<string> => inTurn(async () => marker + await bcrypt.hash(digest(password), cost)),

    /** False for null too (nobody of that name), after the same work. */
    verify: (password: string, stored: string | null): Promise<boolean> =>
      inTurn(async () => await matches(password, stored ?? nobody) && stored !== null),

    /** Whether `stored` was made under another cost, or elsewhere. */
    isStale: (stored: string): boolean => !stored.startsWith(marker) || bcrypt.getRounds(stored.slice(marker.length)) !== cost,

    /** Hashes waiting for a worker. */
    waiting: (): number => queue.size,

    /** How long each took once it had its worker, and how many were refused as too many waited. */
    work
  }
}
