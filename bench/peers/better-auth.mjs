// Better Auth behind Node's own HTTP server. SESSIONS: "redis" (its Redis storage as secondary storage) or "database". Its rate limit is off, as
// otherwise its 100 requests per 10 s would be what is measured. Passwords are hashed cheaply: only sessions matter here.
import { createServer } from 'node:http'
import { redisStorage } from '@better-auth/redis-storage'
import { betterAuth } from 'better-auth'
import { getMigrations } from 'better-auth/db/migration'
import { toNodeHandler } from 'better-auth/node'
import { Redis } from 'ioredis'
import pg from 'pg'
import { databaseUrl, everyUser, ready, redisUrl, secret } from './serve.mjs'

const base = Number(process.env.PORT)
const auth = betterAuth({
  secret,
  baseURL: `http://127.0.0.1:${base}`,
  database: new pg.Pool({ connectionString: databaseUrl, max: 10 }),
  ...process.env.SESSIONS === 'redis' ? { secondaryStorage: redisStorage({ client: new Redis(redisUrl), keyPrefix: 'better-auth:' }) } : {},
  emailAndPassword: { enabled: true, password: { hash: async password => password, verify: async ({ hash, password }) => hash === password } },
  rateLimit: { enabled: false },
  telemetry: { enabled: false }
})
await (await getMigrations(auth.options)).runMigrations()
const headers = []
for (const { email, name } of everyUser) {
  const reply = await auth.api.signUpEmail({ body: { email, name, password: 'correct horse battery staple' }, asResponse: true })
  if (!reply.ok) throw new Error(`sign-up answered ${reply.status} ${await reply.text()}`)
  headers.push(`Cookie: ${reply.headers.getSetCookie().map(cookie => cookie.split(';', 1)[0]).join('; ')}`)
}
createServer(toNodeHandler(auth)).listen(base, '127.0.0.1', () => ready(base, '/api/auth/get-session', headers))
