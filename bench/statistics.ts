/** The middle of `values`; the mean of the two middle ones where their number is even. NaN of none. */
export function median (values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** The value below which the share `q` of `values` lies, between neighbours in proportion. NaN of none. */
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

/** Round by round, so that a machine which is slow for a while is so for both. */
export function ratios (values: readonly number[], against: readonly number[]): number[] {
  return values.flatMap((value, i) => against[i] === undefined ? [] : [value / against[i]])
}

/** Fisher and Yates' shuffle, of a copy. */
export function shuffled<T> (items: readonly T[]): T[] {
  const order = [...items]
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    ;[order[i], order[j]] = [order[j] as T, order[i] as T]
  }
  return order
}
