import { Agent, request } from 'node:http'

export interface Answer { status: number, body: string, ms: number }

/** A small HTTP client on kept-alive connections, for what a load generator can't send. */
export function createClient (base: string, connections: number) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })

  function call (method: string, path: string, { token, body }: { token?: string, body?: unknown } = {}): Promise<Answer> {
    const payload = body === undefined ? null : JSON.stringify(body)
    const headers = {
      ...token === undefined ? {} : { authorization: `Bearer ${token}` },
      ...payload === null ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }
    }
    const startedAt = performance.now()
    return new Promise((resolve, reject) => {
      const sent = request(new URL(path, base), { method, agent, headers }, response => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', chunk => { text += chunk })
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text, ms: performance.now() - startedAt }))
        response.on('error', reject)
      })
      sent.on('error', reject)
      sent.end(payload)
    })
  }

  return {
    call,
    /** The same; throws on any status but `status`. */
    async expect (status: number, ...request: Parameters<typeof call>): Promise<Answer> {
      const answer = await call(...request)
      if (answer.status !== status) throw new Error(
        `${request[0]} ${request[1]} answered ${answer.status} ${answer.body.slice(0, 200)}, not ${status}`
      )
      return answer
    },
    close: () => agent.destroy()
  }
}

/** Runs `work` for each of `items`, `concurrency` at a time. */
export async function eachOf<T> (items: readonly T[], concurrency: number, work: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values()
  await Promise.all(Array.from({ length: concurrency }, async () => { for (const item of rest) await work(item) }))
}
