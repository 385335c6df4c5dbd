import Type from 'typebox'
import { Compile } from 'typebox/compile'
import type { User } from '../users/user.js'

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

const text = Type.String()
const textOrNone = Type.Union([text, Type.Null()])
const standing = {
  issuedAtMs: Type.Number(),
  expiresAtMs: Type.Number(),
  idleAtMs: Type.Optional(Type.Number()),
  token: Type.Object({ id: text, kind: text, abilities: Type.Array(text), expiresAt: textOrNone })
}
const session = Type.Object({ id: text, deviceName: textOrNone, createdAt: text, expiresAt: text })
const user = Type.Object({ id: text, email: text, emailVerifiedAt: textOrNone, name: textOrNone, role: text, createdAt: text })
const principal = Compile(Type.Union([
  Type.Object({ ...standing, session: Type.Union([session, Type.Null()]), user }),
  Type.Object({ ...standing, session: Type.Null(), user: Type.Null() })
]))

/** Whether `value` has a principal's shape: a cache may return anybody's JSON, and a reply made of another would be a 500. What the texts say is its writer's to know: who can write there can make up a principal, too. */
export function isPrincipal (value: unknown): value is AnyPrincipal {
  return principal.Check(value)
}

/** Several requests have it in their hands. */
export function frozen (principal: AnyPrincipal): AnyPrincipal {
  Object.freeze(principal.token.abilities)
  for (const part of [principal.token, principal.session, principal.user]) Object.freeze(part)
  return Object.freeze(principal)
}

/** Whether this principal's token has `ability`: `*` is every one but the reserved `introspect`. */
export function can ({ token }: Pick<AnyPrincipal, 'token'>, ability: string): boolean {
  return token.abilities.includes(ability) || (ability !== 'introspect' && token.abilities.includes('*'))
}
