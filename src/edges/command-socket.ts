import { chmod, rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join, relative, resolve } from 'node:path'

/** What a command printed, and how it ended. */
export type CommandOutcome = { exitCode: number, stdout: string, stderr: string }

/** `input` is what the command is told apart from its arguments: a password. */
type Request = { command: string, args: string[], input?: string }
type Run = (command: string, args: string[], input?: string) => Promise<CommandOutcome>

const FILE_NAME = 'latchkey.sock'
const REQUEST_MAX_BYTES = 64 * 1024
const REQUEST_TIMEOUT_MS = 5_000
const ACCEPT_TIMEOUT_MS = 5_000

// macOS holds 104 bytes with the closing NUL and Linux 108; past that the kernel or libuv may cut the path silently.
const ADDRESS_MAX_BYTES = 103

/**
 * Runs what operators ask for through `latchkey.sock` in `dir`, whose claim the caller holds until after `close`.
 * Throws when the socket cannot be made, a path past the kernel's limit included: whether to go on without is the caller's choice.
 */
export async function serveCommands (dir: string, run: Run): Promise<{ close (): Promise<void> }> {
  const path = resolve(dir, FILE_NAME)
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
  socket.setTimeout(REQUEST_TIMEOUT_MS, () => refuse(`it sent no whole request within ${REQUEST_TIMEOUT_MS / 1000} s`))
  socket.on('data', receive)

  function receive (chunk: Buffer) {
    const end = chunk.indexOf('\n')
    const part = end === -1 ? chunk : chunk.subarray(0, end)
    bytes += part.length
    if (bytes > REQUEST_MAX_BYTES) return refuse(`it is larger than ${REQUEST_MAX_BYTES} bytes`)
    chunks.push(part)
    if (end !== -1) void answer(Buffer.concat(chunks).toString('utf8'))
  }

  async function answer (line: string) {
    stopReceiving()
    const request = parseLine(line)
    if (!isRequest(request)) return refuse('it is not a command with its arguments')

    send(socket, { accepted: true })
    const outcome = await attempt(run, request)
    socket.end(`${JSON.stringify(outcome)}\n`)
  }

  function refuse (reason: string) {
    stopReceiving()
    socket.end(`${JSON.stringify({ refused: reason })}\n`)
  }

  function stopReceiving () {
    socket.off('data', receive)
    socket.setTimeout(0)
    // Whatever else arrives is thrown away: unread bytes would turn the close into a reset and take the answer with them.
    socket.resume()
  }
}

async function attempt (run: Run, { command, args, input }: Request): Promise<CommandOutcome> {
  try {
    return await run(command, args, input)
  } catch (error) {
    return { exitCode: 1, stdout: '', stderr: `${error instanceof Error ? error.message : String(error)}\n` }
  }
}

/**
 * Has the server of `dir` run a command: null when none listens there, however long the run takes otherwise.
 * Throws when the server does not accept within `acceptTimeoutMs`, refuses, answers out of turn or closes midway.
 */
export async function callServer (
  dir: string, command: string, args: string[], acceptTimeoutMs = ACCEPT_TIMEOUT_MS, input?: string
): Promise<CommandOutcome | null> {
  const path = resolve(dir, FILE_NAME)
  const address = socketAddress(path)
  // No server can listen at a path that is too long.
  if (address === null) return null
  const request = JSON.stringify({ command, args, input })
  if (Buffer.byteLength(request) > REQUEST_MAX_BYTES) {
    throw new Error(`The command and its arguments are larger than the ${REQUEST_MAX_BYTES} bytes that a server takes.`)
  }

  return await new Promise((resolve, reject) => {
    const socket = connect({ path: address })
    const unanswered = () => fail(`The server at ${path} did not accept the command within ${acceptTimeoutMs / 1000} s: ` +
      'it is frozen or overloaded, and may still run the command when it wakes up.')
    const timer = setTimeout(unanswered, acceptTimeoutMs)
    let accepted = false
    let received = ''

    socket.setEncoding('utf8')
    socket.on('connect', () => socket.write(`${request}\n`))
    socket.on('data', (text: string) => {
      received += text
      const lines = received.split('\n')
      received = lines.pop() ?? ''
      for (const line of lines) read(parseLine(line))
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (isAbsent(error)) settle(() => resolve(null))
      // A full queue of connections is what a server leaves that has been frozen for long.
      else if (error.code === 'EAGAIN') unanswered()
      else if (isCut(error)) cut()
      else fail(`The server at ${path} cannot be reached (${error.code ?? error.message}): run this as the server's user.`)
    })
    socket.on('close', cut)

    function read (message: unknown) {
      if (isRefusal(message)) fail(`The server at ${path} refused the command: ${message.refused}.`)
      else if (!accepted && isAcceptance(message)) accept()
      else if (accepted && isOutcome(message)) settle(() => resolve(message))
      else fail(`What listens at ${path} answered something that is no outcome of a command: is it another program?`)
    }

    function accept () {
      accepted = true
      clearTimeout(timer)
    }

    function cut () {
      fail(accepted
        ? `The server at ${path} closed the connection before the command ended: what it did is unknown.`
        : `The server at ${path} closed the connection before it accepted the command.`)
    }

    function fail (message: string) {
      settle(() => reject(new Error(message)))
    }

    function settle (how: () => void) {
      clearTimeout(timer)
      socket.destroy()
      how()
    }
  })
}

/** Whether a process, even a frozen one, listens at `path`; one that may not be asked counts as listening. */
export async function isListening (path: string): Promise<boolean> {
  const address = socketAddress(path)
  if (address === null) return false
  return await new Promise(resolve => {
    const socket = connect({ path: address })
    socket.on('connect', () => { socket.destroy(); resolve(true) })
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(!isAbsent(error)))
  })
}

/** Whether the server of `dir` listens for commands. */
export function isServing (dir: string): Promise<boolean> {
  return isListening(join(dir, FILE_NAME))
}

// The absolute path, or the one from the working folder where only that fits; null when neither does.
function socketAddress (path: string): string | null {
  return [resolve(path), relative(process.cwd(), path)]
    .find(address => Buffer.byteLength(address) <= ADDRESS_MAX_BYTES) ?? null
}

/** Listens at a socket that is its owner's alone (0600) from the moment it exists; throws when `path` is too long for one. */
export async function listenPrivately (server: Server, path: string): Promise<void> {
  const address = socketAddress(path)
  if (address === null) {
    throw new Error(`The path ${path} has ${Buffer.byteLength(path)} bytes, and a unix socket's may have ` +
      `${ADDRESS_MAX_BYTES}: choose a DATA_DIR with a shorter path.`)
  }
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    // `listen` binds before it returns, so nothing else of this process makes a file under this mask.
    const previous = process.umask(0o177)
    try {
      server.listen({ path: address }, () => { server.off('error', reject); resolve() })
    } finally {
      process.umask(previous)
    }
  })
  // Some filesystems of containers ignore the mask.
  await chmod(path, 0o600)
}

function send (socket: Socket, message: object) {
  socket.write(`${JSON.stringify(message)}\n`)
}

function parseLine (line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

function isRecord (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function isRequest (value: unknown): value is Request {
  return isRecord(value) && typeof value.command === 'string' &&
    Array.isArray(value.args) && value.args.every(arg => typeof arg === 'string') &&
    (value.input === undefined || typeof value.input === 'string')
}

function isAcceptance (value: unknown): boolean {
  return isRecord(value) && value.accepted === true
}

function isRefusal (value: unknown): value is { refused: string } {
  return isRecord(value) && typeof value.refused === 'string'
}

function isOutcome (value: unknown): value is CommandOutcome {
  return isRecord(value) && Number.isInteger(value.exitCode) &&
    typeof value.stdout === 'string' && typeof value.stderr === 'string'
}

function isAbsent ({ code }: NodeJS.ErrnoException): boolean {
  return code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTSOCK'
}

function isCut ({ code }: NodeJS.ErrnoException): boolean {
  return code === 'ECONNRESET' || code === 'EPIPE'
}
