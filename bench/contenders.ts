import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { freePort } from '../test/fixtures/servers.js'
import { createClient, eachOf } from './client.js'
import type { ContenderName } from './goals.js'
import { createSeeder, register, type Seeded, startLatchkey } from './latchkey.js'
import { type Load, type Outcome, probe, writeHeaders } from './load.js'
import type { Machinery } from './machinery.js'
import { measureLogins, measureLogouts, measurePaced, whileLoggingIn } from './measures.js'
import { hasNginx, startNginx } from './nginx.js'
import { median } from './statistics.js'
import { createVerifyingContenders } from './verifying.js'

/** The number of clients, each with its own token, that take turns at each server. */
const clients = 256
/** More tokens than a server's memory holds from one turn to the next. */
const manyClients = 100_000

export type Unit = 'requests/s' | 'checks/s' | 'logins/s' | 'ms'

/** `once` measures a contender for so many seconds; `pid` is given if its processor time per request can be measured. */
export interface Ready { once (seconds: number): Promise<number>, pid?: number }

/** One thing to measure. */
export interface Contender {
  name: ContenderName
  label: string
  unit: Unit
  kind: 'denominator' | 'own' | 'peer'
  start (): Promise<Ready>
}

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/** All contenders of a run; servers shared by several start with the first of them. */
export function createContenders (machinery: Machinery, load: Load, connections: number): Contender[] {
  const own = once(async () => {
    const instance = await seeded(clients)
    const { base, callers } = instance
    const reply = await probe({ url: `${base}/v1/me`, expected: 200 }, bearer(callers[0]?.token), callers[0]?.email ?? '')
    return { ...instance, reply, me: await meOf(base, tokensOf(callers), 'latchkey') }
  })
  /** A server with its own database and Redis, and `count` users with a token each. */
  async function seeded (count: number, env: Record<string, string> = {}) {
    const databaseUrl = await machinery.database()
    const redis = await machinery.redis()
    const seeder = await createSeeder(machinery, databaseUrl)
    const instance = await startLatchkey(machinery, { databaseUrl, redisUrl: redis.url, core: machinery.cores.server, env })
    return { ...instance, databaseUrl, redis, seeder, callers: await seeder.seed(count) }
  }
  const peerRedis = once(() => machinery.redis())
  const proxied = once(() => seeded(clients, { TRUST_PROXY: '127.0.0.1' }))
  const application = once(async () => {
    const env = { NODE_ENV: 'production', CLIENTS: String(clients), REPLY: (await own()).reply }
    const { url } = await machinery.start(machinery.cores.server, [file('peers/bare.mjs')], env).message<{ url: string }>()
    return Number(new URL(url).port)
  })
  const paced = (busy: boolean) => async () => {
    const { base, callers, seeder } = await own()
    const client = createClient(base, connections)
    const measure = (seconds: number) => measurePaced(client, tokensOf(callers), 1_000, seconds)
    const people = busy ? await seeder.seed(64) : []
    return { once: busy ? (seconds: number) => whileLoggingIn(base, people, () => measure(seconds)) : measure }
  }

  async function meOf (base: string, tokens: readonly string[], name: string) {
    const target = { url: `${base}/v1/me`, headersFile: writeHeaders(machinery, name, tokens.map(bearer)), expected: 200 as const }
    // Each token once, so that the measurement finds it in the cache.
    const client = createClient(base, 16)
    await eachOf(tokens, 16, async token => { await client.expect(200, 'GET', '/v1/me', { token }) })
    client.close()
    return (seconds: number): Promise<Outcome> => load(target, connections, seconds)
  }

  function bare (name: 'bare' | 'deferred', label: string): Contender {
    return {
      name,
      label,
      unit: 'requests/s',
      kind: 'denominator',
      start: async () => peer(name, 'bare', { REPLY: (await own()).reply, ...name === 'deferred' ? { DEFERRED: 'yes' } : {} }, null)
    }
  }

  function peerOf (
    name: ContenderName,
    label: string,
    script: string,
    settings: () => Promise<Record<string, string>> = async () => ({})
  ): Contender {
    return {
      name,
      label,
      unit: 'requests/s',
      kind: 'peer',
      start: async () =>
        peer(name, script, { REDIS_URL: (await peerRedis()).url, PORT: String(await freePort()), ...await settings() }, '@example.com')
    }
  }

  async function peer (name: string, script: string, env: Record<string, string>, mustHave: string | null) {
    const child = machinery.start(
      machinery.cores.server,
      [file(`peers/${script}.mjs`)],
      { NODE_ENV: 'production', CLIENTS: String(clients), ...env }
    )
    const { url, headers } = await child.message<{ url: string, headers: string[] }>()
    const target = { url, headersFile: writeHeaders(machinery, name, headers), expected: 200 as const }
    await probe(target, headers[0] as string, mustHave)
    return { once: async (seconds: number) => (await load(target, connections, seconds)).perSecond, pid: child.process.pid as number }
  }

  /** nginx before the bare application: each request is one of the clients', and checked or not. */
  function behindNginx (name: 'nginx-alone' | 'nginx-forward-auth', label: string, kind: Contender['kind']): Contender {
    return {
      name,
      label,
      unit: 'requests/s',
      kind,
      async start () {
        const { base, callers } = await proxied()
        const latchkey = name === 'nginx-alone' ? null : Number(new URL(base).port)
        const target = {
          url: `${await startNginx(machinery, await application(), latchkey)}/me`,
          headersFile: writeHeaders(machinery, name, tokensOf(callers).map(bearer)),
          expected: 200 as const
        }
        await probe(target, bearer(callers[0]?.token), '@example.com')
        return { once: async seconds => (await load(target, connections, seconds)).perSecond }
      }
    }
  }

  function logins (name: 'logins' | 'logins-all-cores', label: string, core: string | null): Contender {
    return {
      name,
      label,
      unit: 'logins/s',
      kind: 'own',
      async start () {
        const { databaseUrl, seeder, base } = await own()
        const alone = name === 'logins' ? { base } : await startLatchkey(machinery, { databaseUrl, core })
        const people = await seeder.seed(64)
        return { once: seconds => measureLogins(alone.base, people, seconds) }
      }
    }
  }

  function bcrypt (name: 'bcrypt' | 'bcrypt-all-cores', label: string, core: string | null): Contender {
    return {
      name,
      label,
      unit: 'logins/s',
      kind: 'denominator',
      async start () {
        const child = machinery.start(core, [file('workers/bcrypt.mjs')], { COST: '12' })
        await child.message()
        return {
          async once (seconds) {
            child.process.send(seconds)
            return await child.message<number>()
          }
        }
      }
    }
  }

  return [
    bare('bare', 'bare Fastify, static JSON'),
    bare('deferred', 'bare Fastify, one awaited setImmediate'),
    {
      name: 'latchkey',
      label: 'Latchkey, cache hit',
      unit: 'requests/s',
      kind: 'own',
      async start () {
        const { me, pid } = await own()
        return { once: async seconds => (await me(seconds)).perSecond, pid }
      }
    },
    {
      name: 'many',
      label: 'Latchkey, cache hit, 100,000 tokens in turn',
      unit: 'requests/s',
      kind: 'own',
      async start () {
        // Longer than the run: only hits are measured.
        const { base, pid, callers } = await seeded(manyClients, { CACHE_TTL: '12h' })
        const me = await meOf(base, tokensOf(callers), 'many')
        return { once: async seconds => (await me(seconds)).perSecond, pid }
      }
    },
    {
      name: 'redis-dead',
      label: 'Latchkey, Redis dead',
      unit: 'requests/s',
      kind: 'own',
      async start () {
        const { base, pid, redis, callers } = await seeded(clients)
        await redis.kill()
        const me = await meOf(base, tokensOf(callers), 'redis-dead')
        return { once: async seconds => (await me(seconds)).perSecond, pid }
      }
    },
    {
      name: 'embedded',
      label: 'Latchkey, embedded: no servers',
      unit: 'requests/s',
      kind: 'own',
      async start () {
        const { base, pid } = await startLatchkey(
          machinery,
          { core: machinery.cores.server, env: { BCRYPT_COST: '4', SESSION_LIMIT: '0' } }
        )
        const me = await meOf(base, await register(base, clients), 'embedded')
        return { once: async seconds => (await me(seconds)).perSecond, pid }
      }
    },
    {
      name: 'made-up',
      label: 'Latchkey, refusing made-up tokens',
      unit: 'requests/s',
      kind: 'own',
      async start () {
        const { base, pid } = await own()
        const target = {
          url: `${base}/v1/me`,
          headersFile: writeHeaders(machinery, 'made-up', Array.from({ length: clients }, () => bearer(madeUp()))),
          expected: 401 as const
        }
        await probe(target, bearer(madeUp()), 'AUTH_INVALID_TOKEN')
        return { once: async seconds => (await load(target, connections, seconds)).perSecond, pid }
      }
    },
    peerOf('jwt', '@fastify/jwt (cannot revoke)', 'fastify-jwt'),
    peerOf('jwt-redis', '@fastify/jwt + Redis check', 'fastify-jwt', async () => ({ CHECK: 'plain' })),
    peerOf('jwt-redis-pipelined', '@fastify/jwt + Redis check, auto-pipelined', 'fastify-jwt', async () => ({ CHECK: 'pipelined' })),
    peerOf('jwt-cached', '@fastify/jwt, verified tokens cached (cannot revoke)', 'fastify-jwt', async () => ({ CACHE: 'yes' })),
    peerOf('fastify-session', '@fastify/session, Redis', 'fastify-session'),
    peerOf('express-session', 'express-session, Redis', 'express-session'),
    peerOf(
      'better-auth-redis',
      'Better Auth, Redis',
      'better-auth',
      async () => ({ SESSIONS: 'redis', DATABASE_URL: await machinery.emptyDatabase() })
    ),
    peerOf(
      'better-auth-database',
      'Better Auth, database',
      'better-auth',
      async () => ({ SESSIONS: 'database', DATABASE_URL: await machinery.emptyDatabase() })
    ),
    peerOf('oidc-provider', 'oidc-provider userinfo, Redis', 'oidc-provider'),
    {
      name: 'idle-p99',
      label: 'p99 of GET /v1/me, full load',
      unit: 'ms',
      kind: 'denominator',
      async start () {
        const { me } = await own()
        return { once: async seconds => (await me(seconds)).p99 }
      }
    },
    {
      name: 'busy-p99',
      label: 'p99 of GET /v1/me, full load, while logins saturate bcrypt',
      unit: 'ms',
      kind: 'own',
      async start () {
        const { me, base, seeder } = await own()
        const people = await seeder.seed(64)
        return { once: async seconds => (await whileLoggingIn(base, people, () => me(seconds))).p99 }
      }
    },
    { name: 'paced-idle-p99', label: 'p99 of GET /v1/me, 1,000 a second', unit: 'ms', kind: 'denominator', start: paced(false) },
    {
      name: 'paced-busy-p99',
      label: 'p99 of GET /v1/me, 1,000 a second, while logins saturate bcrypt',
      unit: 'ms',
      kind: 'own',
      start: paced(true)
    },
    logins('logins', 'logins at cost 12, server on one core', machinery.cores.server),
    bcrypt('bcrypt', 'bcrypt alone at cost 12, one core', machinery.cores.server),
    logins('logins-all-cores', 'logins at cost 12, server on two cores', machinery.cores.all),
    bcrypt('bcrypt-all-cores', 'bcrypt alone at cost 12, two cores', machinery.cores.all),
    {
      name: 'logout',
      label: 'POST /v1/logout, healthy Redis',
      unit: 'ms',
      kind: 'own',
      async start () {
        const { base, seeder } = await own()
        return { once: async () => measureLogouts(base, await seeder.seed(100)) }
      }
    },
    {
      name: 'transaction',
      label: "a logout's transaction alone",
      unit: 'ms',
      kind: 'denominator',
      async start () {
        const { databaseUrl, seeder } = await own()
        const child = machinery.start(machinery.cores.server, [file('workers/transaction.mjs')], { DATABASE_URL: databaseUrl })
        await child.message()
        return {
          async once () {
            child.process.send(await seeder.seed(100))
            return median(await child.message<number[]>())
          }
        }
      }
    },
    ...createVerifyingContenders({
      machinery,
      // Longer than the run: only hits are measured.
      site: count => seeded(count, { CACHE_TTL: '12h' }),
      peer: (name, script, env) => peer(name, script, env, null)
    }),
    ...hasNginx
      ? [
        behindNginx('nginx-alone', 'nginx before bare Fastify', 'denominator'),
        behindNginx('nginx-forward-auth', 'nginx before bare Fastify, asking Latchkey', 'own')
      ]
      : []
  ]
}

const tokensOf = (callers: readonly Seeded[]) => callers.map(({ token }) => token)
const bearer = (token: string | undefined) => `Authorization: Bearer ${token}`

/** A token of the right shape whose check is right by chance once in 3 × 10^12. */
function madeUp (): string {
  return `lk_${BigInt(`0x${randomBytes(38).toString('hex')}`).toString(36).padStart(50, '0').slice(-50)}`
}

function once<T> (work: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | null = null
  return () => result ??= work()
}
