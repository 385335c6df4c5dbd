/** A user as the wire shows them; times are RFC 3339 in UTC. */
export interface User {
  id: string
  email: string
  emailVerifiedAt: string | null
  name: string | null
  role: 'user' | 'admin'
  createdAt: string
}
