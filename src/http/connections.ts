import type { Server } from 'node:http'
import type { Socket } from 'node:net'

/** The open connections of a server that is to close without keeping anybody waiting. */
export interface Connections {
  /** Ends those on which not a word has been said: browsers and balancers open some in advance, and Node counts them as busy. */
  endSilent (): void
}

/** Watches `server` from now on. */
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
