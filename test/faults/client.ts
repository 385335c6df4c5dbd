import { Agent, request as send } from 'node:http'
import type { Death } from './points.js'

/** A reply: `status` is null if the connection failed. Times are this process's monotonic clock, in milliseconds. */
export interface Reply { status: number | null, body: string, fromCache: boolean, startedAt: number, endedAt: number, failure: string | null }

/** `death`: where the called process is to be killed. */
export interface Call { method: string, path: string, token?: string | undefined, body?: object | undefined, death?: Death | undefined }

const agent = new Agent({ keepAlive: true, maxSockets: 512 })
const answerWithinMs = 30_000

/** One request to the API on `port`; never rejects. */
export function call (port: number, { method, path, token, body, death }: Call): Promise<Reply> {
  const payload = body === undefined ? undefined : JSON.stringify(body)
  const startedAt = performance.now()
  return new Promise(resolve => {
    const fail = (error: Error & { code?: string }) => resolve({ status: null, body: '', fromCache: false, startedAt, endedAt: performance.now(), failure: error.code ?? error.message })
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
        ...payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }
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
