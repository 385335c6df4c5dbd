import Type, { type Static } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Progress } from '../shared/progress.js'

/** The socket in a data folder on which its server takes commands: HTTP, one POST a command. */
export const socketName = 'latchkey.sock'
export const requestMaxBytes = 64 * 1024

const CommandRequest = Type.Object({
  command: Type.String(),
  args: Type.Array(Type.String()),
  /** What relative names of files are relative to. */
  folder: Type.Optional(Type.String()),
  /** Never an argument: those show in the process list. */
  password: Type.Optional(Type.String())
})
const CommandOutcome = Type.Object({ exitCode: Type.Integer(), stdout: Type.String(), stderr: Type.String() })
const CommandProgress = Type.Object({
  progress: Type.Object({
    step: Type.String(), count: Type.Number(), unit: Type.String(), fraction: Type.Union([Type.Number(), Type.Null()])
  })
})

/** A command as its caller got it. */
export type CommandRequest = Static<typeof CommandRequest>

/** What a command printed, and the exit code to end with. */
export type CommandOutcome = Static<typeof CommandOutcome>

const [request, outcome, progress] = [Compile(CommandRequest), Compile(CommandOutcome), Compile(CommandProgress)]

/** The request in `text`; null where it holds none. */
export const parseRequest = (text: string): CommandRequest | null => parse(text, value => request.Check(value))

/** The outcome in `text`; null where it holds none. */
export const parseOutcome = (text: string): CommandOutcome | null => parse(text, value => outcome.Check(value))

/** The progress in a line of the answer; null where it holds none. */
export const parseProgress = (line: string): Progress | null =>
  parse<Static<typeof CommandProgress>>(line, value => progress.Check(value))?.progress ?? null

function parse<T> (text: string, check: (value: unknown) => boolean): T | null {
  try {
    const value: unknown = JSON.parse(text)
    return check(value) ? value as T : null
  } catch {
    return null
  }
}
