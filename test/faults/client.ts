import { Agent, request as send } from 'node:http'
import type { Death } from './points.js'

/** A reply: `status` is null if the connection failed. Times are this process's monotonic clock, in milliseconds. */
export interface Reply {
  status: number | null
  body: string
  fromCache: boolean
  startedAt: number
  endedAt: number
  failure: string | null
}

/** `death`: where the called process is to be killed. */
export interface Call {
  method: string
  path: string
  token?: string | undefined
  body?: object | undefined
  /** A form in place of a JSON body. */
  form?: Record<string, string> | undefined
  death?: Death | undefined
}

// Far less than the server keeps an idle connection: a request on one that is just being closed would be reset.
const agent = new Agent({ keepAlive: true, maxSockets: 512, timeout: 20_000 })
const answerWithinMs = 30_000

/** One request to the API on `port`; never rejects. */
export function call (port: number, { method, path, token, body, form, death }: Call): Promise<Reply> {
  const payload = form !== undefined ? new URLSearchParams(form).toString() : body === undefined ? undefined : JSON.stringify(body)
  const type = form === undefined ? 'application/json' : 'application/x-www-form-urlencoded'
  const startedAt = performance.now()
  return new Promise(resolve => {
    function fail (error: Error & { code?: string }): void {
      const failure = `${error.code ?? error.message} on ${request.reusedSocket ? 'a kept' : 'a new'} connection`
      resolve({ status: null, body: '', fromCache: false, startedAt, endedAt: performance.now(), failure })
    }
    const request = send({
      host: '127.0.0.1',
      port,
      method,
      path,
      agent,
      timeout: answerWithinMs,
      headers: {
        ...token === undefined ? {} : { authorization: `Bearer ${token}` },
        ...death === undefined ? {} : { 'x-dies': JSON.stringify(death) },
        ...payload === undefined ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(payload) }
      }
    }, response => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', fail).on('end', () => resolve({
        status: response.statusCode ?? null,
        body: Buffer.concat(chunks).toString(),
        fromCache: response.headers['x-answered-from'] === 'cache',
        startedAt,
        endedAt: performance.now(),
        failure: null
      }))
    })
    request.on('timeout', () => request.destroy(new Error('no answer'))).on('error', fail)
    request.end(payload)
  })
}

export function closeConnections (): void {
  agent.destroy()
}
