import Type, { type TSchema } from 'typebox'
import { Ability, choice, closed } from '../http/schemas.js'
import type { Principal } from '../tokens/principal.js'

export const Query = Type.Object({
  ability: Type.Optional(Type.Unsafe<string>({ ...Ability, description: 'What the token has to be allowed' })),
  redirect: Type.Optional(choice(['true', 'false']))
}, closed)

/** An answer that is headers alone. */
const headersOnly = (description: string, headers: Record<string, TSchema>) =>
  Type.Unsafe<undefined>({ type: 'null', description, headers })
const text = (description: string) => Type.String({ description })

export const Passed = headersOnly('Let it through. Each of these headers is always there, and empty where there is nothing to say', {
  'X-Auth-User': text("The user's id"),
  'X-Auth-Email': text('The address in UTF-8, if it is verified'),
  'X-Auth-Session': text("The session's id; empty for a personal token"),
  'X-Auth-Abilities': text('Separated by spaces; * stands for all'),
  'X-Auth-Role': text('user or admin')
})

export const ToSignIn = headersOnly('With redirect=true, where a browser waits for a page', { Location: text('The sign-in page, with return_to') })

export const Refused = headersOnly('No token, or none that is live', {
  'WWW-Authenticate': text('RFC 6750 3'),
  'X-Auth-Sign-In': text('The sign-in page, with return_to: where a browser waits for a page')
})

/** The headers of an answer that lets a request through. */
export function toHeaders ({ user, session, token }: Principal): Record<string, string> {
  return {
    'x-auth-user': user.id,
    // Node takes one character for each byte (RFC 9110 5.5, obs-text).
    'x-auth-email': user.emailVerifiedAt === null ? '' : Buffer.from(user.email).toString('latin1'),
    'x-auth-session': session?.id ?? '',
    'x-auth-abilities': token.abilities.join(' '),
    'x-auth-role': user.role
  }
}
