import type { Clock } from './clock.js'

/** How long a result is used again: at least `freshMs`, and with `share` so long that reading takes no more than that share of the time. */
export interface Reuse { freshMs: number, share?: number }

/**
 * Repeats of `read` that share a result while it is fresh, and one that is under way. A failure is not kept. However often it is called,
 * `read` runs no more often than `Reuse` allows.
 */
export function reused<T> (read: () => Promise<T>, clock: Pick<Clock, 'monotonic'>, { freshMs, share }: Reuse): () => Promise<T> {
  let latest: { until: number, result: Promise<T> } | null = null
  return () => {
    const begun = clock.monotonic()
    if (latest !== null && begun < latest.until) return latest.result
    const current = { until: Number.POSITIVE_INFINITY, result: read() }
    latest = current
    current.result.then(
      () => {
        const tookMs = clock.monotonic() - begun
        current.until = begun + Math.max(freshMs, share === undefined ? 0 : tookMs / share)
      },
      () => { if (latest === current) latest = null }
    )
    return current.result
  }
}
