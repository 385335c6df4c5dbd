import { once } from 'node:events'
import type { Server as HttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import type { FastifyInstance } from 'fastify'

/**
 * Clients that come all at once, as after a restart, wait to be accepted, up to what the system allows (net.core.somaxconn). Node's default
 * is 511.
 */
const backlog = 4_096

interface Address { host: string, port: number }

/**
 * Listens at `host`, and resolves to the address to open in a browser. On 127.0.0.1, the default, it answers on ::1 too: `localhost` is
 * either, and a page served from there keeps cookies of `localhost` alone. Rejects when the address is in use.
 */
export async function listen (app: FastifyInstance, { host, port }: Address): Promise<string> {
  const isDefault = host === '127.0.0.1' || host === 'localhost'
  const second = isDefault ? createServerFor(app.server) : null
  if (second !== null) app.addHook('preClose', () => closeServer(second, app.server))

  await app.listen({
    host: isDefault ? '127.0.0.1' : host,
    port,
    backlog,
    listenTextResolver: address => `Server listening at ${urlOf(address)}`
  })
  const { port: bound } = app.server.address() as AddressInfo
  if (second === null || await listensOn(second, '::1', bound)) return urlOf(`http://${host.includes(':') ? `[${host}]` : host}:${bound}`)
  app.log.warn(
    `another program listens on [::1]:${bound}, where browsers may look for localhost: open http://127.0.0.1:${bound}, or choose another PORT`
  )
  return `http://127.0.0.1:${bound}`
}

/** The address as a browser on this machine opens it. */
function urlOf (address: string): string {
  return address.replace(/\/\/(127\.0\.0\.1|\[::1\]|0\.0\.0\.0|\[::\])(?=:)/, '//localhost')
}

/** A second listener: its connections are those of `server`, with its handlers and time-outs. */
function createServerFor (server: HttpServer): Server {
  return createServer({ allowHalfOpen: true, noDelay: true }, socket => { server.emit('connection', socket) })
}

/** False when another program has the port. A machine without IPv6 has no such address: then nobody looks there either. */
async function listensOn (server: Server, host: string, port: number): Promise<boolean> {
  try {
    server.listen({ host, port, backlog, ipv6Only: true })
    await once(server, 'listening')
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'EADDRINUSE'
  }
}

/** Waits for the requests under way, as the close of the first listener does. */
async function closeServer (server: Server, first: HttpServer): Promise<void> {
  if (!server.listening) return
  const closed = once(server, 'close')
  server.close()
  first.closeIdleConnections()
  await closed
}
