import type { Clock } from '../shared/clock.js'
import { reused } from '../shared/reused.js'
import type { AdminStore, HourCount } from './store.js'

const hourMs = 3_600_000
const blockHours = 24
/** The current hour and the one before, into which the last transactions may still commit, are counted anew when this has passed. */
const recentHours = 2
const recentFreshMs = 2_000
/** Hours that are over change only when accounts are deleted. */
const blockFreshMs = 600_000
/** No count takes more of the database's time than this share. */
const share = 0.05
/** Once reading has taken this long, blocks that have never been counted wait for the next call. */
const patienceMs = 2_000

/** Sign-ins, failures and registrations in an hour; null: not counted, or counting took too long. */
export interface HourOfActivity { startsAt: string, signIns: number | null, failures: number | null, registrations: number | null }

/** The last `hours` hours, oldest first, the current one last. */
export type Activity = (hours: number) => Promise<HourOfActivity[]>

type Counts = Map<number, HourCount> | null

/**
 * Counts the audit trail by hours of UTC. Hours that are over are counted in blocks of a day, and each block is remembered: what is read
 * again and again is the last two hours, whatever number of hours is asked for.
 */
export function createActivity ({ store, clock }: { store: Pick<AdminStore, 'activity'>, clock: Clock }): Activity {
  const blocks = new Map<number, () => Promise<Counts>>()
  const currentHour = () => Math.floor(clock.now() / hourMs)

  async function count (fromHour: number, untilHour: number): Promise<Counts> {
    const rows = await store.activity(new Date(fromHour * hourMs), new Date(untilHour * hourMs))
    return rows === null ? null : new Map(rows.map(row => [row.hour, row]))
  }

  const recent = reused(
    () => count(currentHour() - recentHours + 1, currentHour() + 1),
    clock,
    { freshMs: recentFreshMs, share }
  )

  function blockOf (number: number): () => Promise<Counts> {
    let block = blocks.get(number)
    if (block === undefined) {
      const from = number * blockHours
      block = reused(() => count(from, from + blockHours), clock, { freshMs: blockFreshMs, share })
      blocks.set(number, block)
    }
    return block
  }

  return async hours => {
    const current = currentHour()
    const firstRecent = current - recentHours + 1
    const first = current - hours + 1
    const begun = clock.monotonic()
    const counted = new Map<number, Counts>()
    const latest = await recent()
    for (let number = Math.floor((firstRecent - 1) / blockHours); number >= Math.floor(first / blockHours); number--) {
      if (clock.monotonic() - begun > patienceMs && !blocks.has(number)) continue
      counted.set(number, await blockOf(number)())
    }
    for (const number of blocks.keys()) if (number < Math.floor(current / blockHours) - blockHours) blocks.delete(number)
    return Array.from({ length: hours }, (_, i) => {
      const hour = first + i
      const counts = hour >= firstRecent ? latest : counted.get(Math.floor(hour / blockHours)) ?? null
      return { startsAt: new Date(hour * hourMs).toISOString(), ...countsOf(counts, hour) }
    })
  }
}

function countsOf (counts: Counts, hour: number): Omit<HourOfActivity, 'startsAt'> {
  if (counts === null) return { signIns: null, failures: null, registrations: null }
  const { signIns = 0, failures = 0, registrations = 0 } = counts.get(hour) ?? {}
  return { signIns, failures, registrations }
}
