/**
 * What became of hints. `kept`: one was there already; `dropped`: not worth writing any more, or too many waited; `failed`: attempts;
 * `lost`: hints that a token has ended, given up: edges may go by an older hint until it is over.
 */
export type HintCounters = Record<'written' | 'kept' | 'dropped' | 'failed' | 'lost', number>

export const createHintCounters = (): HintCounters => ({ written: 0, kept: 0, dropped: 0, failed: 0, lost: 0 })
