import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import postgres from 'postgres'
import type { Test } from 'tap'
import { verifierRoleSql } from '../../src/verifier/role.js'
import type { Ground } from '../fixtures/app.js'

/** The URL of a role that may do what `npm run verifier:role` grants, removed with the test. */
export async function createVerifierRole (t: Test, databaseUrl: string): Promise<string> {
  const name = `latchkey_verifier_${randomBytes(4).toString('hex')}`
  const owner = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  const password = randomBytes(12).toString('hex')
  await owner.unsafe(verifierRoleSql(name, 'public')).simple()
  await owner.unsafe(`alter role ${name} password '${password}'`)
  t.teardown(async () => {
    await owner.unsafe(`drop owned by ${name}; drop role ${name}`).simple()
    await owner.end({ timeout: 1 })
  })
  const url = new URL(databaseUrl)
  url.username = name
  url.password = password
  return url.href
}

/** What a verifier on `ground` is made with. */
export function optionsOf (ground: Ground, databaseUrl: string) {
  return { databaseUrl, redisKeyPrefix: ground.prefix, ...ground.redisUrl === null ? {} : { redisUrl: ground.redisUrl } }
}

/** A server that answers as told; `asked` are the bodies of its requests. */
export async function serve (t: Test, answer: (request: IncomingMessage, response: ServerResponse, body: string) => void) {
  const asked: string[] = []
  const connections = new Set<unknown>()
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', chunk => { body += String(chunk) }).on('end', () => {
      asked.push(body)
      answer(request, response, body)
    })
  })
  server.on('connection', socket => connections.add(socket))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => new Promise(resolve => { server.closeAllConnections(); server.close(resolve) }))
  return { server, asked, connections, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

/** What a service token looks like. */
export const service = `lkp_${'0'.repeat(50)}`
/** What an access token looks like: another for each number. */
export const token = (i: number) => `lk_${String(i).padStart(50, '0')}`
