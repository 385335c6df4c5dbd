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
  /** Milliseconds since 1970; the end of token and session, whichever is first. */
  expiresAtMs: number
  token: { id: string, kind: string, abilities: string[], expiresAt: string }
  session: { id: string, deviceName: string | null, createdAt: string, expiresAt: string } | null
  user: User
}
