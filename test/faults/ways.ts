import { randomBytes } from 'node:crypto'
import type { Call } from './client.js'
import type { Token, User } from './oracle.js'

/** A request that ends tokens. `repeatable`: it may be sent again if its outcome is unknown. */
export interface Plan {
  what: string
  call: Call
  ends: Token[]
  repeatable: boolean, /** The reply contains a token; the user's password is then this. */
  opens: string | null
}

interface Way { weight: number, fits (user: User): boolean, plan (user: User): Plan }

/** SESSION_LIMIT of the run: a login past it ends the oldest session. */
export const sessionLimit = 3

const any = <T>(items: T[]): T => items[Math.floor(Math.random() * items.length)] as T

/** Ends one session from another: the one request that can be repeated and answered 2xx again. */
export function endOther (user: User): Plan {
  const [victim, caller] = [...user.tokens].sort(() => Math.random() - 0.5) as [Token, Token]
  return {
    what: 'DELETE /v1/sessions/:id',
    call: { method: 'DELETE', path: `/v1/sessions/${victim.sessionId}`, token: caller.plain },
    ends: [victim],
    repeatable: true,
    opens: null
  }
}

export function logOut (user: User): Plan {
  const token = any(user.tokens)
  return {
    what: 'POST /v1/logout',
    call: { method: 'POST', path: '/v1/logout', token: token.plain },
    ends: [token],
    repeatable: true,
    opens: null
  }
}

/** As another service ends a token: answered 2xx whether or not the token is known. */
export function revokeByOauth (user: User): Plan {
  const token = any(user.tokens)
  return {
    what: 'POST /oauth/revoke',
    call: { method: 'POST', path: '/oauth/revoke', form: { token: token.plain } },
    ends: [token],
    repeatable: true,
    opens: null
  }
}

/** Opens one more session; at the limit this ends the oldest. */
export function logIn (user: User): Plan {
  return {
    what: 'POST /v1/login',
    call: { method: 'POST', path: '/v1/login', body: { email: user.email, password: user.password } },
    ends: user.tokens.slice(0, Math.max(0, user.tokens.length - sessionLimit + 1)),
    repeatable: false,
    opens: user.password
  }
}

const ways: Way[] = [
  { weight: 6, fits: user => user.tokens.length > 1, plan: endOther },
  { weight: 3, fits: () => true, plan: logOut },
  { weight: 3, fits: () => true, plan: revokeByOauth },
  {
    weight: 2,
    fits: () => true,
    plan: user =>
      ({
        what: 'POST /v1/logout-all',
        call: { method: 'POST', path: '/v1/logout-all', token: any(user.tokens).plain },
        ends: [...user.tokens],
        repeatable: true,
        opens: null
      })
  },
  { weight: 4, fits: user => user.certain && user.tokens.length === sessionLimit, plan: logIn },
  {
    weight: 2,
    fits: user => user.certain,
    plan (user) {
      const newPassword = randomBytes(9).toString('base64url')
      return {
        what: 'PUT /v1/password',
        call: { method: 'PUT', path: '/v1/password', token: any(user.tokens).plain, body: { currentPassword: user.password, newPassword } },
        ends: [...user.tokens],
        repeatable: false,
        opens: newPassword
      }
    }
  }
]

/** A random way to end tokens of this user. */
export function anyWay (user: User): Plan {
  const fitting = ways.filter(way => way.fits(user))
  let ticket = Math.random() * fitting.reduce((sum, { weight }) => sum + weight, 0)
  const way = fitting.find(({ weight }) => (ticket -= weight) < 0) ?? fitting[0] as Way
  return way.plan(user)
}
