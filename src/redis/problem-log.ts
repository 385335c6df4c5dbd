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
    /** The server has answered the examination with an error, or not with what was asked. */
    unexamined (error: unknown, where: string): void {
      // Of a reply only the word at its beginning: behind it may stand what was sent.
      const refusal = error instanceof Error && error.name === 'ReplyError' ? /^[A-Z]+/.exec(error.message)?.[0] : undefined
      if (refusal === undefined) this.unreachable(error, where)
      else warn(`Redis at ${where} answers INFO with the error ${refusal}: answering from the database`)
    },
    solved (): void { last = null }
  }
}
