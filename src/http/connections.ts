import type { Server } from 'node:http'
import type { Socket } from 'node:net'

/** The open connections of a server. */
export interface Connections {
  /** Ends those that have not sent a byte: browsers and load balancers open connections in advance, and Node counts them as busy. */
  endSilent (): void
}

/** Keeps track of the connections that `server` accepts from now on. */
export function watchConnections (server: Server): Connections {
  const open = new Set<Socket>()
  server.on('connection', socket => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  })
  return {
    endSilent () {
      for (const socket of open) if (socket.bytesRead === 0) socket.destroy()
    }
  }
}
