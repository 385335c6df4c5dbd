import type { Clock } from '../shared/clock.js'
import { describe } from '../shared/errors.js'
import { withTimeout } from '../shared/timeout.js'
import type { LastUseStore } from './last-use-store.js'
import type { AnyPrincipal } from './principal.js'

/** How often uses are written. Each session, personal token and service has its turn once in LAST_USE_INTERVAL. */
export const flushEveryMs = 5_000
/** A use this soon after the last noted one isn't worth noting. */
const resolutionMs = 1_000

interface LastUseNeeds {
  store: LastUseStore
  clock: Clock
  intervalSeconds: number
  graceSeconds: number
  log: { warn (fields: object, text: string): void }
}

/**
 * When sessions, personal tokens and services were last used: kept in memory, written in one statement every few seconds, never to the
 * cache.
 */
export interface LastUse {
  note (principal: Pick<AnyPrincipal, 'session' | 'token'>): void
  /** Writes everything noted so far; a failure is logged and tried again later. */
  flush (): Promise<void>
  start (): void
  /** Writes what is left, for at most 1.5 s. */
  stop (): Promise<void>
}

export function createLastUse ({ store, clock, intervalSeconds, graceSeconds, log }: LastUseNeeds): LastUse {
  const turns = Math.max(1, Math.round(intervalSeconds * 1000 / flushEveryMs))
  const uses = {
    sessions: createUses(used => store.touch('sessions', used), turns),
    tokens: createUses(used => store.touch('tokens', used), turns)
  }
  let timer: NodeJS.Timeout | null = null
  let turn = 0
  let working: Promise<void> = Promise.resolve()

  function note ({ session, token }: Pick<AnyPrincipal, 'session' | 'token'>): void {
    if (session === null) uses.tokens.note(token.id, clock.now())
    else uses.sessions.note(session.id, clock.now())
  }

  /** Writes those whose turn it is, or all; one flush at a time, so that a shutdown also waits for the one under way. */
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
      const again = () => { timer = setTimeout(
        () => { void flush(turn++ % turns).finally(() => { if (timer !== null) again() }) },
        flushEveryMs
      ).unref() }
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

/** Uses not written yet, split by the turn in which they are written: no statement grows with the interval. */
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
      // Kept for the next turn: a forgotten use could end a session as idle.
      keep(used)
      throw error
    }
  }

  function keep (unwritten: Iterable<[string, number]>): void {
    for (const [id, at] of unwritten) partOf(id).set(id, Math.max(at, partOf(id).get(id) ?? 0))
  }

  return { note, write, count: () => parts.reduce((sum, part) => sum + part.size, 0) }
}
