/** Upper bounds of the buckets, in seconds: from an answer out of the cache to a request that waits for a dead server. */
export const durationBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const

/** A histogram of durations. Recording one costs two additions. */
export class Durations {
  /** How many durations fell between each bound and the one before it; the last counts those above all bounds. */
  readonly counts = new Float64Array(durationBounds.length + 1)
  totalMs = 0

  record (ms: number): void {
    const seconds = ms / 1000
    let i = 0
    while (i < durationBounds.length && seconds > (durationBounds[i] as number)) i++
    this.counts[i] = (this.counts[i] as number) + 1
    this.totalMs += ms
  }
}
