import { connect } from 'node:net'
import { join, resolve } from 'node:path'
import { type CommandOutcome, isAcceptance, isOutcome, isRefusal, parseLine, requestMaxBytes, socketName } from './command-messages.js'
import { isAbsent, isListening, socketAddress } from './unix-socket.js'

const defaultAcceptTimeoutMs = 5_000

/** Whether the server of `dir` listens for commands. */
export function isServing (dir: string): Promise<boolean> {
  return isListening(join(dir, socketName))
}

/**
 * Has the server of `dir` run a command: null when none listens there, however long the run takes otherwise.
 * Throws when the server does not accept within `acceptTimeoutMs`, refuses, answers out of turn or closes midway.
 */
export async function callServer (
  dir: string, command: string, args: string[], acceptTimeoutMs = defaultAcceptTimeoutMs, input?: string
): Promise<CommandOutcome | null> {
  const path = resolve(dir, socketName)
  const address = socketAddress(path)
  // No server can listen at a path that is too long.
  if (address === null) return null
  const request = JSON.stringify({ command, args, input })
  if (Buffer.byteLength(request) > requestMaxBytes) {
    throw new Error(`The command and its arguments are larger than the ${requestMaxBytes} bytes that a server takes.`)
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

function isCut ({ code }: NodeJS.ErrnoException): boolean {
  return code === 'ECONNRESET' || code === 'EPIPE'
}
