import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'

const passwordMaxBytes = 16 * 1024

/** Whether somebody is there to be asked. */
export const isTerminal = (): boolean => process.stdin.isTTY

/** True for yes or y, in any case; false for everything else, the end of the input too. */
export async function confirm (question: string): Promise<boolean> {
  process.stderr.write(`${question} [y/N] `)
  return /^y(es)?$/i.test((await firstLine(process.stderr)).trim())
}

/** The first line of the standard input, without its end; what is typed at a terminal isn't shown. */
export async function readPassword (): Promise<string> {
  if (!process.stdin.isTTY) return await firstLine()
  process.stderr.write('Password: ')
  const typed = await firstLine(new Writable({ write: (_chunk, _encoding, done) => done() }))
  process.stderr.write('\n')
  return typed
}

async function firstLine (output?: NodeJS.WritableStream): Promise<string> {
  const lines = createInterface({ input: process.stdin, ...output === undefined ? {} : { output }, terminal: output !== undefined && process.stdin.isTTY })
  try {
    for await (const line of lines) return line.slice(0, passwordMaxBytes)
    return ''
  } finally {
    lines.close()
    // Else an open pipe holds the process.
    process.stdin.destroy()
  }
}
