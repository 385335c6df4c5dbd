import { randomBytes } from 'node:crypto'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import { createInMemory } from '../embedded/pglite-image.js'
import { createKeys } from '../keys/store.js'
import { normaliseEmail } from '../users/email.js'
import { createPasswords } from '../users/password.js'
import { createUserStore } from '../users/store.js'
import type { User } from '../users/user.js'
import { type Instance, type Opener, requireInstance } from './instances.js'
import type { LatchkeyOptions } from './plugin.js'

/** The password of all accounts that `actingAs` makes. */
const password = randomBytes(24).toString('base64url')
const device = { address: '127.0.0.1', userAgent: 'latchkey/testing' }

/** Options of `latchkey` for tests without servers: an embedded database in memory, fast password hashes, no address limit, no mails. */
export function inMemory (env: Record<string, string> = {}): LatchkeyOptions {
  const open: Opener = async () => {
    const database = await createInMemory()
    return { database, redis: null, vaultKeys: [{ id: 'test', key: randomBytes(32) }], mailer: null, close: database.close }
  }
  const options: LatchkeyOptions & { open: Opener } = { env: { BCRYPT_COST: '4', ADDRESS_LIMIT: '0', ...env }, open }
  return options
}

/** Whom a test acts as. */
export interface Role {
  /** An account is created for an address that has none; by default the address is random. */
  email?: string
  name?: string
  /** The role of a new account. */
  role?: User['role']
  /** All (`*`) by default. */
  abilities?: string[]
  /** `access`, the token of a session, by default; or `personal`. */
  kind?: 'access' | 'personal'
}

/** A user with a live token. */
export interface Actor {
  user: User
  token: string
  headers: { authorization: string }
  /** `app.inject` with the token's header. */
  inject (request: string | InjectOptions): Promise<LightMyRequestResponse>
}

/**
 * Logs a user in to an application that has `latchkey` registered. Account, session and token are real ones: checked, limited and
 * revoked like any other. A login past SESSION_LIMIT ends the account's oldest session here, too.
 */
export async function actingAs (app: FastifyInstance, options: Role = {}): Promise<Actor> {
  const { email = `${randomBytes(8).toString('hex')}@example.com`, name, role = 'user', abilities, kind = 'access' } = options
  await app.ready()
  const instance = requireInstance(app)
  const { services } = instance
  await requireAccount(instance, { email: normaliseEmail(email), name: name ?? null, role })
  const { user, access } = await services.sessions.logIn({ email, password, abilities: kind === 'access' ? abilities : undefined }, device)
  const token = kind === 'access' ? access.plain.reveal() : await makePersonal(instance, access.plain.reveal(), abilities)
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

async function requireAccount ({ database, config }: Instance, wanted: Pick<User, 'email' | 'name' | 'role'>): Promise<void> {
  const { email, name, role } = wanted
  const store = createUserStore(database)
  if (await store.findByEmail(email) !== null) return
  const key = await createKeys(database).require('password')
  const passwordHash = await (await createPasswords({ key, cost: config.bcryptCost })).hash(password)
  await database.transaction(tx => store.insert(tx, { email, name, role, passwordHash, createdAt: new Date() }))
}

async function makePersonal ({ services }: Instance, access: string, abilities: string[] | undefined): Promise<string> {
  const caller = await services.tokens.authenticate(access)
  if (caller === null || caller.user === null) throw new Error('the login just made was ended by another')
  const { plain } = await services.personalTokens.create(caller, { name: 'actingAs', abilities }, device)
  return plain.reveal()
}
