import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { readBlocks } from '../test/fixtures/document.js'
import { freePort } from '../test/fixtures/servers.js'
import { findProxy, nginxFile } from '../test/slow/proxies-scene.js'
import { pinned } from './machine.js'
import type { Machinery } from './machinery.js'

export const hasNginx = findProxy('nginx') !== null

/**
 * nginx in front of the application on the port `app`, without TLS and on the server's core, as docs/PROXIES.md configures it; with null
 * for Latchkey's port it asks nobody.
 */
export async function startNginx (machinery: Machinery, app: number, latchkey: number | null): Promise<string> {
  const port = await freePort()
  const folder = join(machinery.folder, `nginx-${port}`)
  mkdirSync(folder)
  const [block] = readBlocks('docs/PROXIES.md').filter(({ info }) => info === 'nginx')
  const lines = (block?.text ?? '').split('\n').filter(line => !/^ *(ssl_certificate|client_max_body_size)/.test(line))
  const unasked = /^ *(auth_request|error_page|proxy_set_header X-Auth-|if \(\$auth|return 302|add_header Retry-After)/
  const server = (latchkey === null ? lines.filter(line => !unasked.test(line)) : lines).join('\n')
    .replace('listen 443 ssl;', `listen 127.0.0.1:${port};`)
    .replaceAll('127.0.0.1:3000', `127.0.0.1:${latchkey ?? port}`)
    .replaceAll('127.0.0.1:8080', `127.0.0.1:${app}`)
  writeFileSync(join(folder, 'nginx.conf'), nginxFile(folder, server))
  const args = ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr']
  const child = spawn(...pinned(machinery.cores.server, findProxy('nginx') as string, args), { stdio: ['ignore', 'ignore', 'inherit'] })
  const gone = once(child, 'exit')
  machinery.atEnd(async () => {
    child.kill()
    await gone
  })
  const url = `http://127.0.0.1:${port}`
  for (const until = Date.now() + 30_000; Date.now() < until; await delay(50)) {
    if (await fetch(`${url}/account`).then(() => true, () => false)) return url
  }
  throw new Error('nginx does not answer after 30 s')
}
