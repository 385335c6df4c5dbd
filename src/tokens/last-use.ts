import type { Clock } from '../shared/clock.js'
import { describe } from '../shared/errors.js'
import { withTimeout } from '../shared/timeout.js'
import type { LastUseStore } from './last-use-store.js'
import type { AnyPrincipal } from './principal.js'

/** So often something is written. A session, a personal token and a service's have their turn once in LAST_USE_INTERVAL. */
export const flushEveryMs = 5_000
/** A use within so long of the last noted one tells nothing new. */
const resolutionMs = 1_000

interface Parts {
  store: LastUseStore
  clock: Clock
  intervalSeconds: number
  graceSeconds: number
  log: { warn (fields: object, text: string): void }
}

/** When sessions, personal tokens and services were last used: remembered here, written in one statement every few seconds, never to the cache. */
export type LastUse = ReturnType<typeof createLastUse>

export function createLastUse ({ store, clock, intervalSeconds, graceSeconds, log }: Parts) {
  const turns = Math.max(1, Math.round(intervalSeconds * 1000 / flushEveryMs))
  const uses = { sessions: createUses(used => store.touch('sessions', used), turns), tokens: createUses(used => store.touch('tokens', used), turns) }
  let timer: NodeJS.Timeout | null = null
  let turn = 0
  let working: Promise<void> = Promise.resolve()

  function note ({ session, token }: AnyPrincipal): void {
    if (session === null) uses.tokens.note(token.id, clock.now())
    else uses.sessions.note(session.id, clock.now())
  }

  /** Writes those whose turn it is, or all; one at a time, so that a shutdown waits for the one under way too. */
  function flush (which: number | 'all' = 'all'): Promise<void> {
    working = working.then(() => flushOnce(which))
    return working
  }

  async function flushOnce (which: number | 'all'): Promise<void> {
    try {
      await uses.sessions.write(which)
      await uses.tokens.write(which)
      await store.eraseSecrets(new Date(clock.now() - graceSeconds * 1000))
    } catch (error) {
      log.warn({ failure: describe(error), uses: uses.sessions.count() + uses.tokens.count() }, 'last uses were not written')
    }
  }

  return {
    note,
    flush: () => flush(),
    start (): void {
      const again = () => { timer = setTimeout(() => { void flush(turn++ % turns).finally(() => { if (timer !== null) again() }) }, flushEveryMs).unref() }
      again()
    },
    async stop (): Promise<void> {
      if (timer !== null) clearTimeout(timer)
      timer = null
      // A silent database must not hold up the end of the process.
      await withTimeout(flush(), 1_500, () => {}).catch(() => {})
    }
  }
}

/** Uses not written yet, each id in the part of those that have their turn together: so that no statement grows with the interval. */
function createUses (touch: (used: Map<string, number>) => Promise<string[]>, turns: number) {
  const parts = Array.from({ length: turns }, () => new Map<string, number>())
  const partOf = (id: string) => parts[turns === 1 ? 0 : Number.parseInt(id.slice(0, 8), 16) % turns] as Map<string, number>

  function note (id: string, at: number): void {
    const part = partOf(id)
    if (at - (part.get(id) ?? 0) >= resolutionMs) part.set(id, at)
  }

  async function write (which: number | 'all'): Promise<void> {
    for (const turn of which === 'all' ? parts.keys() : [which]) await writePart(turn)
  }

  async function writePart (turn: number): Promise<void> {
    const used = parts[turn] as Map<string, number>
    if (used.size === 0) return
    parts[turn] = new Map()
    try {
      const held = new Set(await touch(used))
      keep([...used].filter(([id]) => held.has(id)))
    } catch (error) {
      // For the next time: a use forgotten could end a session as idle.
      keep(used)
      throw error
    }
  }

  function keep (unwritten: Iterable<[string, number]>): void {
    for (const [id, at] of unwritten) partOf(id).set(id, Math.max(at, partOf(id).get(id) ?? 0))
  }

  return { note, write, count: () => parts.reduce((sum, part) => sum + part.size, 0) }
}
