import type { Clock } from '../clock.js'
import { describe } from '../errors.js'
import { inTime } from '../in-time.js'
import type { AnyPrincipal } from './principal.js'

/** A kill -9 loses at most the uses of so long. */
export const flushEveryMs = 5_000
/** A use within so long of the last noted one tells nothing new. */
const resolutionMs = 1_000

/** Notes when these were used, in one statement; returns those it left out because somebody held their rows. */
interface Touched { touch (used: Map<string, number>): Promise<string[]> }

interface Parts {
  sessions: Touched
  tokens: Touched & { eraseSecrets (before: Date): Promise<void> }
  clock: Clock
  graceSeconds: number
  log: { warn (fields: object, text: string): void }
}

/** When sessions, personal tokens and services were last used: remembered here, written in one statement every few seconds, never to the cache. */
export type LastUse = ReturnType<typeof createLastUse>

export function createLastUse ({ sessions, tokens, clock, graceSeconds, log }: Parts) {
  let usedSessions = new Map<string, number>()
  let usedTokens = new Map<string, number>()
  let timer: NodeJS.Timeout | null = null
  let turn: Promise<void> = Promise.resolve()

  function note ({ session, token }: AnyPrincipal): void {
    const [used, id] = session === null ? [usedTokens, token.id] : [usedSessions, session.id]
    const now = clock.now()
    if (now - (used.get(id) ?? 0) >= resolutionMs) used.set(id, now)
  }

  /** One at a time, so that a shutdown waits for the one under way too. */
  function flush (): Promise<void> {
    turn = turn.then(flushOnce)
    return turn
  }

  async function flushOnce (): Promise<void> {
    const [atSessions, atTokens] = [usedSessions, usedTokens]
    usedSessions = new Map()
    usedTokens = new Map()
    try {
      keep(usedSessions, await write(sessions, atSessions))
      keep(usedTokens, await write(tokens, atTokens))
      await tokens.eraseSecrets(new Date(clock.now() - graceSeconds * 1000))
    } catch (error) {
      // For the next time: a use forgotten could end a session as idle.
      keep(usedSessions, atSessions)
      keep(usedTokens, atTokens)
      log.warn({ failure: describe(error), uses: atSessions.size + atTokens.size }, 'last uses were not written')
    }
  }

  return {
    note,
    flush,
    start (): void {
      const again = () => { timer = setTimeout(() => { void flush().finally(() => { if (timer !== null) again() }) }, flushEveryMs).unref() }
      again()
    },
    async stop (): Promise<void> {
      if (timer !== null) clearTimeout(timer)
      timer = null
      // A silent database must not hold up the end of the process.
      await inTime(flush(), 1_500, () => {}).catch(() => {})
    }
  }
}

/** What had to be left out. */
async function write ({ touch }: Touched, used: Map<string, number>): Promise<Map<string, number>> {
  if (used.size === 0) return used
  const held = new Set(await touch(used))
  return new Map([...used].filter(([id]) => held.has(id)))
}

function keep (later: Map<string, number>, unwritten: Map<string, number>): void {
  for (const [id, at] of unwritten) later.set(id, Math.max(at, later.get(id) ?? 0))
}
