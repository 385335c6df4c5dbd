import { createHmac } from 'node:crypto'
import { availableParallelism } from 'node:os'
import bcrypt from 'bcrypt'
import PQueue from 'p-queue'
import { Durations } from '../observability/durations.js'
import { UnavailableError } from '../shared/errors.js'

/** Hashes that may wait per worker: at cost 12 about 16 s. Past it a client is better off with a 503 and a Retry-After. */
const waitingPerWorker = 64

/** Prefix of our own hashes. Without it a hash is plain bcrypt, imported from another system. */
const marker = 'sha384:'

/**
 * Whether `hash` is bcrypt as other systems store it, at a cost of at most 15: above that, a single login would keep a core busy for
 * minutes. A login checks it and then replaces it by one of our own.
 */
export function isPlainBcrypt (hash: string): boolean {
  return /^\$2[aby]\$(0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}$/.test(hash)
}

/** Slow hashes of passwords: bcrypt over a keyed SHA-384, because bcrypt alone stops after 72 bytes and at NUL. */
export interface Passwords {
  hash (password: string): Promise<string>
  /** Whether `password` has the hash `stored`. For null (no such account) the same work is done and the answer is false. */
  verify (password: string, stored: string | null): Promise<boolean>
  /** Whether `stored` was made with another cost, or by another system. */
  isStale (stored: string): boolean
  /** How many hashes are waiting for a worker. */
  waiting (): number
  /** How long hashes took once they had a worker, and how many were refused because too many were waiting. */
  work: { durations: Durations, refused: number }
}

interface PasswordsDependencies {
  /** Comes from the database and is kept apart from the hashes. */
  key: Buffer
  /** BCRYPT_COST */
  cost: number
  /** The highest cost of any stored hash, null when there is none; without it, no hash is dearer than `cost`. */
  dearestCost?: () => number | null
}

export async function createPasswords ({ key, cost, dearestCost = () => null }: PasswordsDependencies): Promise<Passwords> {
  // bcrypt runs in libuv's UV_THREADPOOL_SIZE threads. With one worker per core, requests compete with at most one of them on each core.
  const queue = new PQueue({ concurrency: availableParallelism() })
  const work = { durations: new Durations(), refused: 0 }
  const hashOfNobody = marker + await bcrypt.hash(digest('nobody has this password'), cost)

  /** 64 characters of base64. NFC makes a password the same whichever system it is typed on (NIST SP 800-63B). */
  function digest (password: string): string {
    return createHmac('sha384', key).update(password.normalize('NFC'), 'utf8').digest('base64')
  }

  async function matches (password: string, stored: string): Promise<boolean> {
    // PHP's $2y$ is another name for $2b$, and so is $2a$, but this library counts the length of a $2a$ password in 8 bits.
    const [
      presented,
      hash
    ] = stored.startsWith(marker) ? [digest(password), stored.slice(marker.length)] : [password, stored.replace(/^\$2[ay]\$/, '$2b$')]
    if (await bcrypt.compare(presented, hash)) return true
    // A cheaper hash would say no faster than a dearer one, and so reveal that the account exists. Every no does the work of the dearest
    // hash that there is: 2^c plus 2^c + … + 2^(dearest - 1) is 2^dearest.
    const dearest = Math.max(cost, dearestCost() ?? 0)
    for (let rounds = bcrypt.getRounds(hash); rounds < dearest; rounds++) await bcrypt.hash('', rounds)
    return false
  }

  async function queued<T> (task: () => Promise<T>): Promise<T> {
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
    hash: password => queued(async () => marker + await bcrypt.hash(digest(password), cost)),
    verify: (password, stored) => queued(async () => await matches(password, stored ?? hashOfNobody) && stored !== null),
    isStale: stored => !stored.startsWith(marker) || bcrypt.getRounds(stored.slice(marker.length)) !== cost,
    waiting: () => queue.size,
    work
  }
}
