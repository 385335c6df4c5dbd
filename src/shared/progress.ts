/** How far long work has come: `count` of `unit` in this `step`, which is `fraction` (0 to 1) of it; null where nobody knows. */
export interface Progress { step: string, count: number, unit: string, fraction: number | null }

/** Hears of it now and then while the work goes on. */
export type OnProgress = (progress: Progress) => void
