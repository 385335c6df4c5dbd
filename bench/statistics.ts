/** The median of `values`; NaN if empty. */
export function median (values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** The `q` quantile of `values`, interpolated linearly; NaN if empty. */
export function quantile (values: readonly number[], q: number): number {
  const sorted = [...values].sort((one, other) => one - other)
  const at = (sorted.length - 1) * q
  const [below = Number.NaN, above = below] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]]
  return below + (above - below) * (at - Math.floor(at))
}

/** A figure with its spread over the rounds. */
export interface Summary { median: number, min: number, max: number }

export function summarise (values: readonly number[]): Summary {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) }
}

/** Ratios round by round, so that a machine that is slow for a while affects both sides. */
export function ratios (values: readonly number[], against: readonly number[]): number[] {
  return values.flatMap((value, i) => against[i] === undefined ? [] : [value / against[i]])
}

/** A shuffled copy (Fisher and Yates). */
export function shuffled<T> (items: readonly T[]): T[] {
  const order = [...items]
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    ;[order[i], order[j]] = [order[j] as T, order[i] as T]
  }
  return order
}
