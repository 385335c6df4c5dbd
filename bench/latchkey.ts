import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import postgres, { type Sql } from 'postgres'
import { TokenMint } from '../src/tokens/token.js'
import { createPasswords } from '../src/users/password.js'
import { freePort } from '../test/fixtures/servers.js'
import { createClient } from './client.js'
import type { Machinery } from './machinery.js'

const serverFile = fileURLToPath(new URL('../dist/src/server.js', import.meta.url))

export const password = 'correct horse battery staple'

/** A user with a session and its token, as a login creates them. */
export interface Seeded { email: string, userId: string, sessionId: string, tokenId: string, token: string }

export interface Instance {
  base: string
  pid: number
  stop (): Promise<void>
}

interface Where {
  databaseUrl?: string
  redisUrl?: string
  core: string | null
  env?: Record<string, string>
  /** Node options before the script, such as --cpu-prof. */
  nodeArgs?: string[]
}

/**
 * Latchkey as `npm start` runs it: compiled, with every hook, header and schema and with the metrics port; its log goes to /dev/null. Only
 * the limits on attempts are off. Without a database it runs embedded. Resolves when the cache is trusted.
 */
export async function startLatchkey (
  machinery: Machinery,
  { databaseUrl, redisUrl, core, env = {}, nodeArgs = [] }: Where
): Promise<Instance> {
  const port = await freePort()
  const child = machinery.start(core, [...nodeArgs, serverFile], {
    PORT: String(port),
    METRICS_PORT: String(await freePort()),
    ADDRESS_LIMIT: '0',
    LOGIN_LIMIT: '1000000/1m',
    DATA_DIR: `${machinery.folder}/data-${port}`,
    ...databaseUrl === undefined ? {} : { NODE_ENV: 'production', DATABASE_URL: databaseUrl, SMTP_URL: 'smtp://127.0.0.1:9' },
    ...redisUrl === undefined ? {} : { REDIS_URL: redisUrl },
    ...env
  })
  const ended = once(child.process, 'exit').then(() => { throw new Error('Latchkey ended before it was ready') })
  const base = `http://127.0.0.1:${port}`
  await Promise.race([ended, becomesReady(base, databaseUrl === undefined || redisUrl !== undefined)])
  ended.catch(() => {})
  return { base, pid: child.process.pid as number, stop: child.stop }
}

async function becomesReady (base: string, cached: boolean): Promise<void> {
  for (const until = Date.now() + 30_000; Date.now() < until; await delay(100)) {
    const reply = await fetch(`${base}/health/ready`).catch(() => null)
    if (reply === null || !reply.ok) continue
    const { cache } = await reply.json() as { cache: { trusted: boolean } }
    // A generation older than 1.5 s delays no revocation.
    if (cache.trusted || !cached) return await delay(1_600)
  }
  throw new Error(`Latchkey at ${base} is not ready after 30 s`)
}

/** Creates users, sessions and tokens directly in a database, with that database's keys. */
export async function createSeeder (machinery: Machinery, databaseUrl: string, bcryptCost = 12) {
  const sql = postgres(databaseUrl, { max: 2, onnotice: () => {} })
  machinery.atEnd(() => sql.end({ timeout: 1 }))
  const key = async (name: string): Promise<Buffer> => {
    const [row] = await sql<Array<{ value: Buffer }>>`select value from secrets where name = ${name}`
    if (row === undefined) throw new Error(`the database has no key "${name}"`)
    return row.value
  }
  const mint = new TokenMint(await key('token-check'))
  const passwordHash = await (await createPasswords({ key: await key('password'), cost: bcryptCost })).hash(password)
  let made = 0
  return {
    sql,
    mint,
    passwordHash,
    /** The token of a new service that may introspect. */
    async service (): Promise<string> {
      const token = mint.issue('service')
      await sql`
        insert into tokens (id, hash, kind, name, abilities, created_at)
        values (${randomUUID()}, decode(${token.hash().hex()}, 'hex'), 'service', 'bench', '{introspect}', now())`
      return token.reveal()
    },
    /** `count` users with a session and a token each. */
    async seed (count: number): Promise<Seeded[]> {
      const plain = Array.from(
        { length: count },
        () => ({ number: made++, userId: randomUUID(), sessionId: randomUUID(), tokenId: randomUUID(), token: mint.issue('access') })
      )
      for (let i = 0; i < count; i += 1_000) {
        const part = plain.slice(i, i + 1_000)
        await insert(sql, passwordHash, part.map(({ token, ...row }) => ({ ...row, hash: token.hash().hex() })))
      }
      return plain.map(({ number, token, ...rest }) => ({ ...rest, email: emailOf(number), token: token.reveal() }))
    }
  }
}

const emailOf = (number: number) => `bench-${number}@example.com`

async function insert (
  sql: Sql,
  passwordHash: string,
  rows: Array<{ number: number, userId: string, sessionId: string, tokenId: string, hash: string }>
): Promise<void> {
  const from = sql`jsonb_to_recordset(${sql.json(rows)}) as r ("number" int, "userId" uuid, "sessionId" uuid, "tokenId" uuid, "hash" text)`
  await sql.begin(async tx => [
    await tx`insert into users (id, email, name, password_hash, created_at) select "userId", 'bench-' || "number" || '@example.com', 'Ada Lovelace', ${passwordHash}, now() from ${from}`,
    await tx`insert into sessions (id, user_id, device_name, user_agent, ip, created_at, last_used_at, expires_at) select "sessionId", "userId", 'Phone', 'bench', '127.0.0.1', now(), now(), now() + interval '30 days' from ${from}`,
    await tx`insert into tokens (id, hash, kind, user_id, session_id, abilities, created_at, expires_at) select "tokenId", decode("hash", 'hex'), 'access', "userId", "sessionId", '{*}', now(), now() + interval '30 days' from ${from}`
  ])
}

/** Creates accounts through the API, for an embedded database, which no second process can open. */
export async function register (base: string, count: number): Promise<string[]> {
  const client = createClient(base, 8)
  const tokens: string[] = []
  for (let i = 0; i < count; i++) {
    const { body } = await client.expect(
      201,
      'POST',
      '/v1/register',
      { body: { email: emailOf(i), password, name: 'Ada Lovelace', deviceName: 'Phone' } }
    )
    tokens.push((JSON.parse(body) as { accessToken: string }).accessToken)
  }
  client.close()
  return tokens
}
