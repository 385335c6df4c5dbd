/** What this process has counted of its look-ups in the database. */
export interface LookUpCounters {
  /** Statements that looked tokens up; one answers all look-ups of an event-loop turn. */
  databaseReads: number
}

export const createLookUpCounters = (): LookUpCounters => ({ databaseReads: 0 })
