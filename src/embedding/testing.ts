import { randomBytes } from 'node:crypto'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import { createInMemory } from '../embedded/pglite-image.js'
import { createKeys } from '../keys/store.js'
import { normaliseEmail } from '../users/email.js'
import { createPasswords } from '../users/password.js'
import { createUserStore } from '../users/store.js'
import type { User } from '../users/user.js'
import { type Opener, type Parts, requireMounted } from './instances.js'
import type { LatchkeyOptions } from './plugin.js'

/** Of all accounts that `actingAs` makes; nobody is told. */
const password = randomBytes(24).toString('base64url')
const device = { address: '127.0.0.1', userAgent: 'latchkey/testing' }

/** Options of `latchkey` for tests that need no servers: an embedded database in memory, quick password hashes, no limit by address, no mails. */
export function inMemory (env: Record<string, string> = {}): LatchkeyOptions {
  const open: Opener = async () => {
    const database = await createInMemory()
    return { database, redis: null, mailer: null, close: database.close }
  }
  const options: LatchkeyOptions & { open: Opener } = { env: { BCRYPT_COST: '4', ADDRESS_LIMIT: '0', ...env }, open }
  return options
}

/** Whom to act as. */
export interface Role {
  /** An account is made for each new one; by default it is a random one. */
  email?: string
  name?: string
  /** Of a new account. */
  role?: User['role']
  /** All (`*`) by default. */
  abilities?: string[]
  /** `access`, the token of a session, by default; or `personal`. */
  kind?: 'access' | 'personal'
}

/** Somebody with a live token. */
export interface Actor {
  user: User
  token: string
  headers: { authorization: string }
  /** `app.inject` with the token's header. */
  inject (request: string | InjectOptions): Promise<LightMyRequestResponse>
}

/**
 * Logs somebody in to an application that has `latchkey` registered: an account, a session and a token as anybody has them, checked,
 * limited and revoked like any other. A login past SESSION_LIMIT ends the account's oldest session here, too.
 */
export async function actingAs (app: FastifyInstance, { email = `${randomBytes(8).toString('hex')}@example.com`, name, role = 'user', abilities, kind = 'access' }: Role = {}): Promise<Actor> {
  await app.ready()
  const parts = requireMounted(app)
  const { services } = parts
  await requireAccount(parts, { email: normaliseEmail(email), name: name ?? null, role })
  const { user, access } = await services.sessions.logIn({ email, password, abilities: kind === 'access' ? abilities : undefined }, device)
  const token = kind === 'access' ? access.plain.reveal() : await makePersonal(parts, access.plain.reveal(), abilities)
  const headers = { authorization: `Bearer ${token}` }
  return {
    user,
    token,
    headers,
    inject (request) {
      const options = typeof request === 'string' ? { url: request } : request
      return app.inject({ ...options, headers: { ...options.headers, ...headers } })
    }
  }
}

async function requireAccount ({ database, config }: Parts, { email, name, role }: Pick<User, 'email' | 'name' | 'role'>): Promise<void> {
  const store = createUserStore(database)
  if (await store.findByEmail(email) !== null) return
  const key = await createKeys(database).require('password')
  const passwordHash = await (await createPasswords({ key, cost: config.bcryptCost })).hash(password)
  await database.transaction(tx => store.insert(tx, { email, name, role, passwordHash, createdAt: new Date() }))
}

async function makePersonal ({ services }: Parts, access: string, abilities: string[] | undefined): Promise<string> {
  const caller = await services.tokens.authenticate(access)
  if (caller === null || caller.user === null) throw new Error('the login just made was ended by another')
  const { plain } = await services.personalTokens.create(caller, { name: 'actingAs', abilities }, device)
  return plain.reveal()
}
