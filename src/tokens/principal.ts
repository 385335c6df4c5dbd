import Type from 'typebox'
import { Compile } from 'typebox/compile'
import { Id, Moment, nullable, User as UserSchema } from '../schemas.js'

/** A user as the wire shows it; times are RFC 3339 in UTC. */
export interface User {
  id: string
  email: string
  emailVerifiedAt: string | null
  name: string | null
  role: 'user' | 'admin'
  createdAt: string
}

interface Standing {
  /** Milliseconds since 1970. */
  issuedAtMs: number
  /** Milliseconds since 1970; the end of token and session, whichever is first; the largest safe integer for none. */
  expiresAtMs: number
  /** When the session's idle time would be over, as far as its last use was known; absent without SESSION_IDLE_TTL. */
  idleAtMs?: number
  token: { id: string, kind: string, abilities: string[], expiresAt: string | null }
}

/** Whose request this is: what a user's live token stands for. The same words in the cache, in `request.token` and on the wire. */
export interface Principal extends Standing {
  session: { id: string, deviceName: string | null, createdAt: string, expiresAt: string } | null
  user: User
}

/** What a service's live token stands for: nobody. */
export interface ServicePrincipal extends Standing { session: null, user: null }

export type AnyPrincipal = Principal | ServicePrincipal

const standing = {
  issuedAtMs: Type.Number(),
  expiresAtMs: Type.Number(),
  idleAtMs: Type.Optional(Type.Number()),
  token: Type.Object({ id: Id, kind: Type.String(), abilities: Type.Array(Type.String()), expiresAt: nullable(Moment) })
}
const principal = Compile(Type.Union([
  Type.Object({ ...standing, session: nullable(Type.Object({ id: Id, deviceName: nullable(Type.String()), createdAt: Moment, expiresAt: Moment })), user: UserSchema }),
  Type.Object({ ...standing, session: Type.Null(), user: Type.Null() })
]))

/** Whether `value` is a principal in every field: a cache may return anybody's JSON, and a reply made of another shape would be a 500. */
export function isPrincipal (value: unknown): value is AnyPrincipal {
  return principal.Check(value)
}

/** Whether this principal's token has `ability`: `*` is every one but the reserved `introspect`. */
export function can ({ token }: Pick<AnyPrincipal, 'token'>, ability: string): boolean {
  return token.abilities.includes(ability) || (ability !== 'introspect' && token.abilities.includes('*'))
}
