import { describe } from '../shared/errors.js'

export interface WarningLog { warn (fields: object, text: string): void }

/** Logs why one server cannot be used: a line when a problem begins, and none while it lasts, however often it is reported. */
export function createProblemLog (log: WarningLog) {
  let last: string | null = null
  function warn (line: string, fields: object = {}) {
    if (line === last) return
    last = line
    log.warn(fields, line)
  }
  return {
    unusable: (problem: string) => warn(`${problem}; answering from the database`),
    replica: (where: string) => warn(`Redis at ${where} is a replica: answering from the database`),
    unreachable: (error: unknown, where: string) =>
      warn('Redis cannot be reached: answering from the database', { where, cause: describe(error) }),
    solved (): void { last = null }
  }
}
