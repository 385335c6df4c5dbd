import Type from 'typebox'
import { Compile } from 'typebox/compile'
import type { Cacheable, Found } from '../token-cache/found.js'
import type { User } from '../users/user.js'

/** How somebody proved who they are (RFC 8176): by password, one-time code, or a key in hardware or software; or elsewhere. */
export type AuthenticationMethod = 'pwd' | 'otp' | 'hwk' | 'swk' | 'fed'

/** `aal2`: a session that a second factor helped to open; `aal1`: one opened without. The levels of NIST SP 800-63B. */
export type AssuranceLevel = 'aal1' | 'aal2'

/** `expiresAtMs` is the end of token or session, whichever comes first. */
interface TokenFacts extends Cacheable {
  /** Milliseconds since 1970. */
  issuedAtMs: number
  /** How the session was opened; empty for a token without one. */
  amr: AuthenticationMethod[]
  /** Null for a token without a session. */
  acr: AssuranceLevel | null
  /** Whether SECOND_FACTOR, wherever it applies to the user, is content: the session used one, or a personal token's owner has one. */
  hasFactor: boolean
  token: { id: string, kind: string, abilities: string[], expiresAt: string | null }
}

/** Who a request comes from, as a user's live token says. The same fields in the cache, in `request.token` and on the wire. */
export interface Principal extends TokenFacts {
  session: { id: string, deviceName: string | null, createdAt: string, expiresAt: string } | null
  user: User
  emailVerified: boolean
}

/** The same for a service's token, which belongs to no user. */
export interface ServicePrincipal extends TokenFacts { session: null, user: null }

export type AnyPrincipal = Principal | ServicePrincipal

/** What the database says about a token. */
export type TokenState = Found<AnyPrincipal>

const text = Type.String()
const textOrNull = Type.Union([text, Type.Null()])
const tokenFacts = {
  issuedAtMs: Type.Number(),
  amr: Type.Array(text),
  acr: textOrNull,
  hasFactor: Type.Boolean(),
  expiresAtMs: Type.Number(),
  idleAtMs: Type.Optional(Type.Number()),
  token: Type.Object({ id: text, kind: text, abilities: Type.Array(text), expiresAt: textOrNull })
}
const session = Type.Object({ id: text, deviceName: textOrNull, createdAt: text, expiresAt: text })
const user = Type.Object({ id: text, email: text, emailVerifiedAt: textOrNull, name: textOrNull, role: text, createdAt: text })
const principal = Compile(Type.Union([
  Type.Object({ ...tokenFacts, session: Type.Union([session, Type.Null()]), user, emailVerified: Type.Boolean() }),
  Type.Object({ ...tokenFacts, session: Type.Null(), user: Type.Null() })
]))

/**
 * Whether `value` has the shape of a principal. A cache may return any JSON, and a reply built from another shape would be a 500. The
 * contents aren't checked: whoever can write to the cache can forge a principal anyway.
 */
export function isPrincipal (value: unknown): value is AnyPrincipal {
  return principal.Check(value)
}

/** Freezes a principal that several requests share. */
export function frozen (principal: AnyPrincipal): AnyPrincipal {
  Object.freeze(principal.token.abilities)
  Object.freeze(principal.amr)
  for (const part of [principal.token, principal.session, principal.user]) Object.freeze(part)
  return Object.freeze(principal)
}

/** Whether this token has `ability`: `*` stands for all of them but the reserved `introspect`. */
export function can ({ token }: Pick<AnyPrincipal, 'token'>, ability: string): boolean {
  return token.abilities.includes(ability) || (ability !== 'introspect' && token.abilities.includes('*'))
}

const secondFactors: ReadonlySet<string> = new Set<AuthenticationMethod>(['otp', 'hwk', 'swk'])

/** Whether a second factor is among the methods that opened a session. */
export function usedFactor (amr: readonly string[]): boolean {
  return amr.some(method => secondFactors.has(method))
}

/** What `amr` amounts to; null where it is empty. */
export function assuranceOf (amr: readonly string[]): AssuranceLevel | null {
  if (amr.length === 0) return null
  return usedFactor(amr) ? 'aal2' : 'aal1'
}

/** Throws TypeError unless tokens can have an ability of this name (RFC 6749 3.3); it also goes into a quoted string of a header. */
export function requireAbilityName (ability: string): void {
  if (/^[\x21\x23-\x5B\x5D-\x7E]+$/.test(ability)) return
  throw new TypeError('An ability consists of printable ASCII characters without space, " and \\')
}
