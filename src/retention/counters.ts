/** Prunes by this process, and the rows that they deleted. */
export interface PruneCounters {
  done: number
  skipped: number
  failed: number
  lastDoneAtMs: number
  lastMs: number
  rows: {
    tokens: number, sessions: number, events: number, failures: number, challenges: number, mailTokens: number, registrations: number
  }
}

export function createPruneCounters (): PruneCounters {
  return {
    done: 0, skipped: 0, failed: 0, lastDoneAtMs: 0, lastMs: 0,
    rows: { tokens: 0, sessions: 0, events: 0, failures: 0, challenges: 0, mailTokens: 0, registrations: 0 }
  }
}
