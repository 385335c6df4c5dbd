import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { figure } from './format.js'
import { has, pinned } from './machine.js'
import type { Machinery } from './machinery.js'

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))

/** The URL to load, and a file with one client's header per line. */
export interface Target {
  url: string
  /** Lines like `Authorization: Bearer …`; each request takes the next. */
  headersFile: string
  /** The status every reply must have: 200, or 401 if refusing is what is measured. */
  expected: 200 | 401
  /** Average milliseconds before each request of a connection; none by default: the server runs at full load. */
  pauseMs?: number
}

/** Times in milliseconds. */
export interface Outcome { perSecond: number, p50: number, p99: number, max: number }

export type Load = (target: Target, connections: number, seconds: number) => Promise<Outcome>

export type Generator = 'wrk' | 'autocannon'

/** wrk if installed: on one core autocannon is slower than a fast server, so its own speed would be measured. */
export const bestGenerator = (): Generator => has('wrk') ? 'wrk' : 'autocannon'

/** A load generator on its own core. It throws if a request failed or a reply was not the expected one. */
export function createLoad (machinery: Machinery, generator: Generator): Load {
  return async ({ url, headersFile, expected, pauseMs }, connections, seconds) => {
    const pause = pauseMs === undefined ? [] : [String(pauseMs)]
    const [command, args] = generator === 'wrk'
      ? pinned(
        machinery.cores.load,
        'wrk',
        [
          '-t',
          '1',
          '-c',
          String(connections),
          '-d',
          `${Math.ceil(seconds)}s`,
          '--timeout',
          '10s',
          '-s',
          here('load.lua'),
          url,
          '--',
          headersFile,
          ...pause
        ]
      )
      : pinned(
        machinery.cores.load,
        process.execPath,
        [here('load-autocannon.mjs'), headersFile, url, String(connections), String(Math.ceil(seconds)), ...pause]
      )
    const { stdout } = await promisify(execFile)(command, args)
    const found = JSON.parse(stdout.trimEnd().split('\n').at(-1) as string) as {
      requests: number
      seconds: number
      broken: Record<string, number>
      refused: number
      p50: number
      p99: number
      max: number
    }
    const broken = Object.entries(found.broken).filter(([, count]) => count > 0)
    const unexpected = broken.length + (expected === 200 ? found.refused : Math.abs(found.requests - found.refused))
    if (found.requests === 0 ||
      unexpected > 0) throw new Error(
        `void: of ${found.requests} replies of ${url} ${found.refused} were refusals, where ${expected} was expected; without a reply: ${broken.map(([
          how,
          count
        ]) =>
          `${count} (${how})`).join(', ') ||
          'none'}; slowest ${figure(found.max)} ms`
      )
    return { perSecond: found.requests / found.seconds, p50: found.p50, p99: found.p99, max: found.max }
  }
}

/** Writes headers for a target into the run's folder; returns the file's name. */
export function writeHeaders (machinery: Machinery, name: string, lines: readonly string[]): string {
  const file = join(machinery.folder, `${name}.headers`)
  writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 })
  return file
}

/** Sends one request and checks its reply, so that the load measures what it claims to; `mustHave` must be in the body. */
export async function probe (
  { url, expected }: Pick<Target, 'url' | 'expected'>,
  header: string,
  mustHave: string | null
): Promise<string> {
  const colon = header.indexOf(': ')
  const reply = await fetch(url, { headers: { [header.slice(0, colon)]: header.slice(colon + 2) } })
  const body = await reply.text()
  if (reply.status !== expected) throw new Error(`${url} answered ${reply.status} ${body.slice(0, 200)}, not ${expected}`)
  if (mustHave !== null && !body.includes(mustHave)) throw new Error(`${url} answered without ${mustHave}: ${body.slice(0, 200)}`)
  return body
}
