/** H: how long a poll may be trusted. A revocation that changed the generation waits as long before it is answered. */
export const trustMs = 1_500
/** A settlement this old was left by somebody who died: its entries may live, so no entry is believed until it is settled. */
export const overdueMs = 3_000
/** Timers may fire a millisecond early, and the clocks of two processes don't tick alike. */
export const marginMs = 100
