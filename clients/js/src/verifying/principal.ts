/** Whose token it is: what `latchkey/verifier` gives by URL, too. `email` is there only if its owner has proved it. */
export interface Principal {
  /** Milliseconds since 1970. */
  issuedAtMs: number
  /** Milliseconds since 1970; the largest safe integer for a token that never expires. */
  expiresAtMs: number
  /** How the session was opened (RFC 8176): `pwd`, `otp`; empty for a personal token. */
  amr: string[]
  /** `aal2`: a second factor helped to open the session; `aal1`: none did. Null for a personal token. */
  acr: string | null
  emailVerified: boolean
  token: { abilities: string[] }
  /** Null for a personal token. */
  session: { id: string } | null
  user: { id: string, email?: string, emailVerified: boolean }
}

/** What introspection says about one token: RFC 7662 2.2. */
export type Answer = { active: false } | LiveAnswer

interface LiveAnswer {
  active: true
  sub: string
  scope: string
  iat: number
  exp?: number
  sid?: string
  amr?: string[]
  acr?: string
  email_verified?: boolean
  username?: string
}

/** Whether `value` has the shape of an answer. */
export function isAnswer (value: unknown): value is Answer {
  const { active, sub, scope, iat } = (value ?? {}) as Partial<LiveAnswer>
  if (active as unknown === false) return true
  return active === true && typeof sub === 'string' && typeof scope === 'string' && typeof iat === 'number'
}

/** The principal that an answer is about; null for a dead token. */
export function principalOf (answer: Answer): Principal | null {
  if (!answer.active) return null
  const { sub, scope, iat, exp, sid, amr = [], acr = null, email_verified: emailVerified = false, username } = answer
  return {
    issuedAtMs: iat * 1000,
    expiresAtMs: exp === undefined ? Number.MAX_SAFE_INTEGER : exp * 1000,
    amr,
    acr,
    emailVerified,
    token: { abilities: scope === '' ? [] : scope.split(' ') },
    session: sid === undefined ? null : { id: sid },
    user: { id: sub, ...username === undefined ? {} : { email: username }, emailVerified }
  }
}

/** Whether the token has `ability`: `*` stands for all of them but the reserved `introspect`. */
export function can ({ token }: Pick<Principal, 'token'>, ability: string): boolean {
  return token.abilities.includes(ability) || (ability !== 'introspect' && token.abilities.includes('*'))
}

/** Throws TypeError unless tokens can have an ability of this name (RFC 6749 3.3); it also goes into a quoted string of a header. */
export function requireAbilityName (ability: string): void {
  if (/^[\x21\x23-\x5B\x5D-\x7E]+$/.test(ability)) return
  throw new TypeError('An ability consists of printable ASCII characters without space, " and \\')
}
