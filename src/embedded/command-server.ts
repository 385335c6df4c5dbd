import { rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { resolve } from 'node:path'
import { type CommandOutcome, type CommandReply, type CommandRequest, isRequest, parseLine, requestMaxBytes, socketName } from './command-messages.js'
import { listenPrivately } from './unix-socket.js'

type Run = (command: string, args: string[], input?: string) => Promise<CommandOutcome>

const requestTimeoutMs = 5_000

/**
 * Runs what operators ask for through `latchkey.sock` in `dir`, whose claim the caller holds until after `close`.
 * Throws when the socket cannot be made, a path past the kernel's limit included: whether to go on without is the caller's choice.
 */
export async function serveCommands (dir: string, run: Run): Promise<{ close (): Promise<void> }> {
  const path = resolve(dir, socketName)
  await rm(path, { force: true })

  const connections = new Set<Socket>()
  const server = createServer(socket => {
    connections.add(socket)
    socket.on('close', () => connections.delete(socket))
    socket.on('error', () => socket.destroy())
    serveOne(socket, run)
  })
  await listenPrivately(server, path)

  async function close () {
    const closed = new Promise<void>(resolve => server.close(() => resolve()))
    for (const socket of connections) socket.destroy()
    await closed
    // A relative address names another file once the process has changed its folder.
    await rm(path, { force: true })
  }

  let closing: Promise<void> | undefined
  return { close: () => (closing ??= close()) }
}

function serveOne (socket: Socket, run: Run) {
  const chunks: Buffer[] = []
  let bytes = 0
  socket.setTimeout(requestTimeoutMs, () => refuse(`it sent no whole request within ${requestTimeoutMs / 1000} s`))
  socket.on('data', receive)

  function receive (chunk: Buffer) {
    const end = chunk.indexOf('\n')
    const part = end === -1 ? chunk : chunk.subarray(0, end)
    bytes += part.length
    if (bytes > requestMaxBytes) return refuse(`it is larger than ${requestMaxBytes} bytes`)
    chunks.push(part)
    if (end !== -1) void answer(Buffer.concat(chunks).toString('utf8'))
  }

  async function answer (line: string) {
    stopReceiving()
    const request = parseLine(line)
    if (!isRequest(request)) return refuse('it is not a command with its arguments')

    send({ accepted: true })
    const outcome = await attempt(run, request)
    send(outcome)
    socket.end()
  }

  function refuse (reason: string) {
    stopReceiving()
    send({ refused: reason })
    socket.end()
  }

  function send (reply: CommandReply) {
    socket.write(`${JSON.stringify(reply)}\n`)
  }

  function stopReceiving () {
    socket.off('data', receive)
    socket.setTimeout(0)
    // Whatever else arrives is thrown away: unread bytes would turn the close into a reset and take the answer with them.
    socket.resume()
  }
}

async function attempt (run: Run, { command, args, input }: CommandRequest): Promise<CommandOutcome> {
  try {
    return await run(command, args, input)
  } catch (error) {
    return { exitCode: 1, stdout: '', stderr: `${error instanceof Error ? error.message : String(error)}\n` }
  }
}
