import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { becomesTrue, patienceMs } from '../fixtures/app.js'
import { createAuthority } from '../fixtures/certificates.js'
import { readBlocks } from '../fixtures/document.js'
import { alone } from '../fixtures/programs.js'
import { freePort } from '../fixtures/servers.js'

/** What docs/PROXIES.md prints, run by the real programs in folders of their own. */

export const host = 'app.example.com'
export type ProxyName = 'nginx' | 'caddy'

/** The path of that program, also where only root looks for it; null without it. */
export function findProxy (name: ProxyName): string | null {
  return [...(process.env.PATH ?? '').split(':'), '/usr/sbin'].map(folder => join(folder, name)).find(file => existsSync(file)) ?? null
}

/** `latchkey` and `app` are ports; `edit` changes the printed configuration. */
export interface ProxyParts { latchkey: number, app: number, edit?: (printed: string) => string }

export interface Answer { status: number, headers: IncomingMessage['headers'], body: string }

export type Proxy = Awaited<ReturnType<typeof startProxy>>

/** One that is stopped with the test, over TLS on loopback. */
export async function startProxy (t: Test, name: ProxyName, { latchkey, app, edit = printed => printed }: ProxyParts) {
  const folder = mkdtempSync(join(tmpdir(), `latchkey-${name}-`))
  const { cert, key } = createAuthority(folder, 'proxies').certify(`DNS:${host}`)
  const port = await freePort()
  const [block] = readBlocks('docs/PROXIES.md').filter(({ info }) => info === (name === 'nginx' ? 'nginx' : 'caddyfile'))
  const printed = edit(block?.text ?? '').replaceAll('127.0.0.1:3000', `127.0.0.1:${latchkey}`).replaceAll('127.0.0.1:8080', `127.0.0.1:${app}`)
  const args = name === 'nginx' ? configureNginx(folder, printed, { cert, key, port }) : await configureCaddy(folder, printed, { cert, key, port })
  const [command, words] = alone({ HOME: folder }, findProxy(name) as string, ...args)
  const child = spawn(command, words, { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', chunk => { said += String(chunk) })
  const gone = once(child, 'exit')
  t.teardown(async () => {
    child.kill()
    await gone
    rmSync(folder, { recursive: true, force: true, maxRetries: 20 })
  })

  /** Sends a request, its body in one piece or chunked, and resolves to the whole answer. */
  async function send (method: string, path: string, headers: Record<string, string> = {}, body: Buffer | null = null): Promise<Answer> {
    return await new Promise((resolve, reject) => {
      const outgoing = request({ host: '127.0.0.1', port, servername: host, rejectUnauthorized: false, agent: false, method, path, headers: { host, ...headers } }, reply => {
        const chunks: Buffer[] = []
        reply.on('data', chunk => chunks.push(chunk)).on('error', reject)
        reply.on('end', () => resolve({ status: reply.statusCode ?? 0, headers: reply.headers, body: Buffer.concat(chunks).toString() }))
      })
      // Whoever is refused while still sending may find the connection closed after the answer.
      outgoing.on('error', reject)
      outgoing.end(body)
    })
  }

  /** Opens a WebSocket, as far as bytes are concerned: what comes back for `text`, or the status of a refusal. */
  async function upgrade (path: string, headers: Record<string, string>, text: string): Promise<string | number> {
    return await new Promise((resolve, reject) => {
      const opening = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' }
      const outgoing = request({ host: '127.0.0.1', port, servername: host, rejectUnauthorized: false, agent: false, path, headers: { host, ...opening, ...headers } })
      outgoing.on('response', reply => {
        reply.resume()
        resolve(reply.statusCode ?? 0)
      })
      outgoing.on('upgrade', (_reply, socket) => {
        socket.once('data', chunk => {
          resolve(String(chunk))
          socket.destroy()
        })
        socket.on('error', reject)
        socket.write(text)
      })
      outgoing.on('error', reject)
      outgoing.end()
    })
  }

  const answers = () => send('GET', '/account').then(({ status }) => status > 0, () => false)
  if (!await becomesTrue(answers, patienceMs)) throw new Error(`${name} does not answer: ${said}`)
  return { name, port, send, upgrade }
}

interface Own { cert: string, key: string, port: number }

function configureNginx (folder: string, printed: string, { cert, key, port }: Own): string[] {
  const server = printed
    .replace('listen 443 ssl;', `listen 127.0.0.1:${port} ssl;`)
    .replace('/etc/ssl/app.pem', cert)
    .replace('/etc/ssl/app.key', key)
  writeFileSync(join(folder, 'nginx.conf'), nginxFile(folder, server))
  const args = ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr']
  execFileSync(findProxy('nginx') as string, ['-t', ...args], { stdio: 'ignore' })
  return args
}

/** A whole configuration around `server`: one process on loopback that writes into `folder` alone. */
export function nginxFile (folder: string, server: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(what => `${what}_temp_path ${join(folder, what)};`).join('\n')
  return `
    ${process.getuid?.() === 0 ? 'user root;' : ''}
    daemon off;
    worker_processes 1;
    pid ${join(folder, 'pid')};
    error_log stderr;
    events {}
    http {
      access_log off;
      ${temporary}
      ${server}
    }`
}

async function configureCaddy (folder: string, printed: string, { cert, key, port }: Own): Promise<string[]> {
  const site = printed.replace(`${host} {`, `https://${host}:${port} {\n\tbind 127.0.0.1\n\ttls ${cert} ${key}`)
  writeFileSync(join(folder, 'Caddyfile'), `{\n\tadmin off\n\tauto_https disable_redirects\n\thttp_port ${await freePort()}\n}\n${site}`)
  return ['run', '--config', join(folder, 'Caddyfile'), '--adapter', 'caddyfile']
}

/** What the application has been asked. */
export interface Seen { method: string, url: string, headers: Array<[name: string, value: string]>, bytes: number }

/** An application that trusts its headers: it echoes what it was asked, has an ETag, and talks back on a WebSocket. */
export async function startApplication (t: Test): Promise<{ port: number, seen: Seen[] }> {
  const seen: Seen[] = []
  const pairs = ({ rawHeaders }: IncomingMessage) =>
    rawHeaders.flatMap((name, i): Array<[string, string]> => i % 2 === 0 ? [[name.toLowerCase(), rawHeaders[i + 1] as string]] : [])
  const describe = (incoming: IncomingMessage, bytes: number): Seen =>
    ({ method: incoming.method ?? '', url: incoming.url ?? '', headers: pairs(incoming), bytes })
  const server = createServer((incoming, reply) => {
    let bytes = 0
    incoming.on('data', (chunk: Buffer) => { bytes += chunk.length })
    incoming.on('end', () => {
      seen.push(describe(incoming, bytes))
      if (incoming.headers['if-none-match'] === '"v1"') reply.writeHead(304, { etag: '"v1"' }).end()
      else if (incoming.url === '/broken') reply.writeHead(500).end('broken')
      else if (incoming.url === '/mine') reply.writeHead(401, { 'www-authenticate': 'Mine' }).end('mine')
      else reply.writeHead(200, { etag: '"v1"' }).end('the application')
    })
  })
  server.on('upgrade', (incoming, socket) => {
    seen.push(describe(incoming, 0))
    socket.on('error', () => {})
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n')
    socket.on('data', chunk => socket.write(`heard ${String(chunk)}`))
  })
  return { port: await listen(t, server), seen }
}

/** Listens on loopback until the end of the test. */
export async function listen (t: Test, server: Server): Promise<number> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return (server.address() as AddressInfo).port
}
