import { chmod } from 'node:fs/promises'
import { connect, type Server } from 'node:net'
import { relative, resolve } from 'node:path'

// macOS holds 104 bytes with the closing NUL and Linux 108; past that the kernel or libuv may cut the path silently.
const addressMaxBytes = 103

/** Whether a process listens at `path`, a frozen one included; true too where we lack the permission to connect. */
export async function isListening (path: string): Promise<boolean> {
  const address = socketAddress(path)
  if (address === null) return false
  return await new Promise(resolve => {
    const socket = connect({ path: address })
    socket.on('connect', () => { socket.destroy(); resolve(true) })
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(!isAbsent(error)))
  })
}

/** Listens on a socket that only its owner may open (0600), from the moment it exists. Throws when `path` is too long for a socket. */
export async function listenPrivately (server: Server, path: string): Promise<void> {
  const address = socketAddress(path)
  if (address === null) {
    throw new Error(`The path ${path} has ${Buffer.byteLength(path)} bytes, and a unix socket's may have ` +
      `${addressMaxBytes}: choose a DATA_DIR with a shorter path.`)
  }
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    // `listen` binds before it returns, so no other file of this process is made under this mask.
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

/** The absolute path, or the one relative to the working folder where only that fits into an address; null when neither does. */
export function socketAddress (path: string): string | null {
  return [resolve(path), relative(process.cwd(), path)]
    .find(address => Buffer.byteLength(address) <= addressMaxBytes) ?? null
}

/** Whether the kernel says that nobody listens there. */
export function isAbsent ({ code }: NodeJS.ErrnoException): boolean {
  return code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTSOCK'
}
