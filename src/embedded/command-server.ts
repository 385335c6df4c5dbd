import { rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { resolve } from 'node:path'
import type { OnProgress } from '../shared/progress.js'
import { type CommandOutcome, type CommandRequest, parseRequest, requestMaxBytes, socketName } from './command-messages.js'
import { listenPrivately } from './unix-socket.js'

type Run = (request: CommandRequest, onProgress: OnProgress) => Promise<CommandOutcome>

const requestTimeoutMs = 5_000

/**
 * Runs the commands that arrive on `latchkey.sock` in `dir`, which the caller has claimed and releases after `close`.
 * Throws when the socket can't be made, for instance because its path is too long; the caller decides whether to go on without it.
 */
export async function serveCommands (dir: string, run: Run): Promise<{ close (): Promise<void> }> {
  const path = resolve(dir, socketName)
  // A server that died leaves its socket behind.
  await rm(path, { force: true })

  const limits = { requestTimeout: requestTimeoutMs, connectionsCheckingInterval: 1_000 }
  const server = createServer(limits, (request, response) => { void answer(request, response, run) })
  await listenPrivately(server, path)

  async function close () {
    const closed = new Promise<void>(resolve => server.close(() => resolve()))
    server.closeAllConnections()
    await closed
    // A relative address would name another file if the process has changed its folder.
    await rm(path, { force: true })
  }

  let closing: Promise<void> | undefined
  return { close: () => (closing ??= close()) }
}

/**
 * The status line tells the caller that its command runs. Lines of progress may follow, and in the end the outcome, however long that
 * takes.
 */
async function answer (incoming: IncomingMessage, response: ServerResponse, run: Run): Promise<void> {
  const body = await readBody(incoming).catch(() => null)
  // The caller hung up, or was cut off for taking too long: nothing runs.
  if (body === null) return
  if (body.length > requestMaxBytes) return refuse(413, `it is larger than ${requestMaxBytes} bytes`)
  const request = parseRequest(body.toString('utf8'))
  if (request === null) return refuse(400, 'it is not a command with its arguments')

  response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders()
  const onProgress: OnProgress = progress => { response.write(`${JSON.stringify({ progress })}\n`) }
  response.end(JSON.stringify(await attempt(() => run(request, onProgress))))

  function refuse (status: number, reason: string): void {
    response.writeHead(status, { 'content-type': 'text/plain', connection: 'close' }).end(reason)
  }
}

/** Reads to the end, so that a refusal isn't lost with bytes nobody read; keeps one byte more than allowed at most. */
async function readBody (incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let room = requestMaxBytes + 1
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    chunks.push(chunk.subarray(0, room))
    room -= Math.min(room, chunk.length)
  }
  return Buffer.concat(chunks)
}

async function attempt (run: () => Promise<CommandOutcome>): Promise<CommandOutcome> {
  try {
    return await run()
  } catch (error) {
    return { exitCode: 1, stdout: '', stderr: error instanceof Error ? error.message : String(error) }
  }
}
