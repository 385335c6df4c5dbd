/** Upper bounds of the counted durations, in seconds: from a cached answer to a request that waits for a dead server. */
export const durationBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const

/** How long something took, each time: counted in place, so that to count costs no more than an addition or two. */
export class Durations {
  /** Those up to each bound and above the one before it; last, those above all bounds. */
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
