/** What became of refresh tokens; `repeated`: within the grace, `reused`: past it. */
export type RefreshCounters = Record<'succeeded' | 'repeated' | 'reused' | 'refused', number>

export const createRefreshCounters = (): RefreshCounters => ({ succeeded: 0, repeated: 0, reused: 0, refused: 0 })
