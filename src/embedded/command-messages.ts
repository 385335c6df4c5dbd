/** The socket of a data folder's server. What is exchanged on it are lines of JSON: a request, then `accepted` and an outcome, or `refused`. */
export const socketName = 'latchkey.sock'
export const requestMaxBytes = 64 * 1024

/** What a command printed, and how it ended. */
export type CommandOutcome = { exitCode: number, stdout: string, stderr: string }

/** `input` is what the command is told apart from its arguments: a password. */
export type CommandRequest = { command: string, args: string[], input?: string }

export type CommandReply = { accepted: true } | { refused: string } | CommandOutcome

/** What a line says; undefined where it is no JSON. */
export function parseLine (line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

function isRecord (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

export function isRequest (value: unknown): value is CommandRequest {
  return isRecord(value) && typeof value.command === 'string' &&
    Array.isArray(value.args) && value.args.every(arg => typeof arg === 'string') &&
    (value.input === undefined || typeof value.input === 'string')
}

export function isAcceptance (value: unknown): boolean {
  return isRecord(value) && value.accepted === true
}

export function isRefusal (value: unknown): value is { refused: string } {
  return isRecord(value) && typeof value.refused === 'string'
}

export function isOutcome (value: unknown): value is CommandOutcome {
  return isRecord(value) && Number.isInteger(value.exitCode) &&
    typeof value.stdout === 'string' && typeof value.stderr === 'string'
}
