/** What a token's key holds, as one small number. Nil, revoked, leases (one nonce a reader), entries. */
export const nil = 0
export const revoked = 1
const firstLease = 2
const firstEntry = 8

export const lease = (reader: number) => firstLease + reader

/** An entry of a generation; `fresh` when it was read after the change it could be stale about. */
export const entry = (generation: number, fresh: boolean) => firstEntry + generation * 2 + (fresh ? 1 : 0)

export const isEntry = (value: number) => value >= firstEntry
export const generationOf = (value: number) => (value - firstEntry) >> 1
export const isFresh = (value: number) => (value & 1) === 1

export function describe (value: number): string {
  if (value === nil) return 'nil'
  if (value === revoked) return 'R'
  return isEntry(value) ? `V${generationOf(value)}` : `L${value - firstLease + 1}`
}
