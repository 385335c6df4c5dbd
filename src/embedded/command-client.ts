import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, request as openRequest } from 'node:http'
import { join, resolve } from 'node:path'
import type { OnProgress } from '../shared/progress.js'
import { type CommandOutcome, type CommandRequest, parseOutcome, parseProgress, requestMaxBytes, socketName } from './command-messages.js'
import { isAbsent, isListening, socketAddress } from './unix-socket.js'

/** Whether the server of `dir` listens for commands. */
export function isServing (dir: string): Promise<boolean> {
  return isListening(join(dir, socketName))
}

/** `onProgress` hears of the progress of a command that tells it. */
export interface CallOptions { onProgress?: OnProgress | undefined, acceptTimeoutMs?: number }

/**
 * Has the server of `dir` run a command, however long that takes; null when no server listens there.
 * Throws when the server doesn't accept the command within `acceptTimeoutMs`, refuses it, or closes the connection before the outcome.
 */
export async function callServer (
  dir: string, request: CommandRequest, { onProgress, acceptTimeoutMs = 5_000 }: CallOptions = {}
): Promise<CommandOutcome | null> {
  const path = resolve(dir, socketName)
  const address = socketAddress(path)
  // No server can listen at a path that is too long.
  if (address === null) return null
  const body = Buffer.from(JSON.stringify(request))
  if (body.length > requestMaxBytes) {
    throw new Error(`The command and its arguments are larger than the ${requestMaxBytes} bytes that a server takes.`)
  }

  const outgoing = openRequest({ socketPath: address, method: 'POST', agent: false, headers: { 'content-length': body.length } })
  const response = await send(outgoing, body, path, acceptTimeoutMs)
  if (response === null) return null
  const answer = await lastLine(response, onProgress).catch(() => null)
  if (answer === null) throw new Error(`The server at ${path} closed the connection before the command ended: what it did is unknown.`)
  if (response.statusCode !== 200) throw new Error(`The server at ${path} refused the command: ${answer || response.statusMessage}.`)
  return parseOutcome(answer) ?? notOurs(path)
}

/** The response, once its head has arrived; null when nobody listens. */
async function send (outgoing: ClientRequest, body: Buffer, path: string, acceptTimeoutMs: number): Promise<IncomingMessage | null> {
  const timer = setTimeout(() => outgoing.destroy(Object.assign(new Error(), { code: 'EAGAIN' })), acceptTimeoutMs)
  try {
    outgoing.end(body)
    const [response] = await once(outgoing, 'response') as [IncomingMessage]
    outgoing.on('error', () => {})
    return response
  } catch (error) {
    return explain(error as NodeJS.ErrnoException, path, acceptTimeoutMs)
  } finally {
    clearTimeout(timer)
  }
}

/** What follows the lines of progress. Rejects when the connection is closed before the end. */
async function lastLine (response: IncomingMessage, onProgress: OnProgress | undefined): Promise<string> {
  let rest = ''
  for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
    rest += chunk
    if (chunk.includes('\n')) rest = withoutProgress(rest, onProgress)
  }
  return rest
}

function withoutProgress (text: string, onProgress: OnProgress | undefined): string {
  let from = 0
  for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', from)) {
    const progress = parseProgress(text.slice(from, end))
    if (progress === null) break
    onProgress?.(progress)
    from = end + 1
  }
  return text.slice(from)
}

function explain (error: NodeJS.ErrnoException, path: string, acceptTimeoutMs: number): null {
  const { code = error.message } = error
  if (isAbsent(error)) return null
  // The kernel says EAGAIN when the queue of connections is full, as that of a server is which has been frozen for long.
  if (code === 'EAGAIN') {
    throw new Error(`The server at ${path} did not accept the command within ${acceptTimeoutMs / 1000} s: ` +
      'it is frozen or overloaded, and may still run the command when it wakes up.')
  }
  if (code === 'ECONNRESET' ||
    code === 'EPIPE') throw new Error(`The server at ${path} closed the connection before it accepted the command.`)
  if (code.startsWith('HPE_')) return notOurs(path)
  throw new Error(`The server at ${path} cannot be reached (${code}): run this as the server's user.`)
}

function notOurs (path: string): never {
  throw new Error(`The answer at ${path} is not the outcome of a command: is another program listening there?`)
}
