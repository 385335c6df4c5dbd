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

/** Whose request this is: what a live token stands for. The same words in the cache, in `request.token` and on the wire. */
export interface Principal {
  /** Milliseconds since 1970; the end of token and session, whichever is first; the largest safe integer for none. */
  expiresAtMs: number
  /** When the session's idle time would be over, as far as its last use was known; absent without SESSION_IDLE_TTL. */
  idleAtMs?: number
  token: { id: string, kind: string, abilities: string[], expiresAt: string | null }
  session: { id: string, deviceName: string | null, createdAt: string, expiresAt: string } | null
  user: User
}

const principal = Compile(Type.Object({
  expiresAtMs: Type.Number(),
  idleAtMs: Type.Optional(Type.Number()),
  token: Type.Object({ id: Id, kind: Type.String(), abilities: Type.Array(Type.String()), expiresAt: nullable(Moment) }),
  session: nullable(Type.Object({ id: Id, deviceName: nullable(Type.String()), createdAt: Moment, expiresAt: Moment })),
  user: UserSchema
}))

/** Whether `value` is a principal in every field: a cache may return anybody's JSON, and a reply made of another shape would be a 500. */
export function isPrincipal (value: unknown): value is Principal {
  return principal.Check(value)
}

/** Whether this principal's token has `ability`: `*` is every one but the reserved `introspect`. */
export function can ({ token }: Principal, ability: string): boolean {
  return token.abilities.includes(ability) || (ability !== 'introspect' && token.abilities.includes('*'))
}
