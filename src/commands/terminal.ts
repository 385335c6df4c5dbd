import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'

const passwordMaxBytes = 16 * 1024

/** Whether the standard input is a terminal, so that somebody can answer. */
export const isTerminal = (): boolean => process.stdin.isTTY

/** True for yes or y, in any case; false for everything else, the end of the input included. */
export async function confirm (question: string): Promise<boolean> {
  return /^y(es)?$/i.test((await typedLine(`${question} [y/N] `, process.stderr)).trim())
}

/**
 * The first line of the standard input, without its end. At a terminal it is asked for, and isn't shown. Throws when it is empty or isn't
 * UTF-8.
 */
export async function readPassword (): Promise<string> {
  const password = process.stdin.isTTY ? await typedPassword() : decode(await pipedLine())
  if (password === '') throw new Error('The standard input has no password in its first line.')
  return password
}

async function typedPassword (): Promise<string> {
  const typed = await typedLine('Password: ', new Writable({ write: (_chunk, _encoding, done) => done() }))
  process.stderr.write('\n')
  // Node.js has put this in the place of whatever wasn't UTF-8: the password would be another one than was typed.
  if (typed.includes('\ufffd')) throw notUtf8()
  return typed
}

/**
 * The line typed after `prompt`, shown on `output`. The terminal stops echoing before the prompt appears: what is typed at once isn't shown
 * either.
 */
async function typedLine (prompt: string, output: NodeJS.WritableStream): Promise<string> {
  const lines = createInterface({ input: process.stdin, output, terminal: true })
  process.stderr.write(prompt)
  try {
    for await (const line of lines) return line
    return ''
  } finally {
    lines.close()
    // An open terminal would keep the process alive.
    process.stdin.destroy()
  }
}

/** Leaving the loop destroys the input: an open pipe would keep the process alive. */
async function pipedLine (): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    const end = chunk.indexOf('\n')
    chunks.push(end === -1 ? chunk : chunk.subarray(0, end))
    bytes += chunk.length
    if (end !== -1 || bytes > passwordMaxBytes) break
  }
  const line = Buffer.concat(chunks)
  if (line.length > passwordMaxBytes) throw new Error('The first line of the standard input is too long for a password.')
  return line
}

function decode (line: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(line).replace(/\r$/, '')
  } catch {
    throw notUtf8()
  }
}

const notUtf8 = () => new Error('The password is not UTF-8: set the terminal or the file to UTF-8.')
