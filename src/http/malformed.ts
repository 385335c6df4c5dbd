import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import createError from '@fastify/error'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { sendError } from './errors.js'
import { commonHeaders } from './headers.js'

const message = 'The request is not well-formed HTTP'
const MalformedError = createError('FST_ERR_BAD_REQUEST', message, 400)

/**
 * Refuses a request without a Host or with two (RFC 9112 3.2), and an Expect other than 100-continue, which Node would refuse without
 * a body.
 */
export function refuseUnclearRequests (app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    const hosts = countHosts(request.raw.rawHeaders)
    if (hosts === 1 || (hosts === 0 && request.raw.httpVersion !== '1.1')) {
      done()
      return
    }
    reply.header('connection', 'close')
    done(new MalformedError())
  })
  app.server.on('checkExpectation', (_request, response) => {
    const { headers, body } = refusal(417)
    response.writeHead(417, headers).end(body)
  })
}

/** Node's clientError handler: answers what could not be parsed as a request, in the shape of all errors. */
export function refuseMalformed (error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return
  const status = error.code === 'HPE_HEADER_OVERFLOW' ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400
  const { headers, body } = refusal(status)
  const head = Object.entries({ ...headers, connection: 'close' }).map(([name, value]) => `${name}: ${value}\r\n`).join('')
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${head}\r\n${body}`)
}

/** For a URL that Fastify can't decode; no hook has run. Fastify's own handler quotes the URL, which may contain a secret. */
export function refuseUrl (error: FastifyError, _request: FastifyRequest, reply: FastifyReply): void {
  reply.headers(commonHeaders)
  sendError(reply, Object.assign(error, { message: 'The URL is not well-formed' }))
}

/** Node keeps the first Host only; a proxy in front may have routed by the second. */
function countHosts (rawHeaders: string[]): number {
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    if (name.length === 4 && name.toLowerCase() === 'host') count++
  }
  return count
}

function refusal (status: number) {
  const body = JSON.stringify({ statusCode: status, code: 'FST_ERR_BAD_REQUEST', error: STATUS_CODES[status], message })
  const headers = { ...commonHeaders, 'content-type': 'application/json; charset=utf-8', 'content-length': Buffer.byteLength(body) }
  return { headers, body }
}
