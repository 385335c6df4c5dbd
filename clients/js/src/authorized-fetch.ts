import { platform } from './platform.js'
import type { Refreshing } from './refreshing.js'
import type { State } from './state.js'
import { errorOf, parse, type Transport } from './transport.js'
import type { AuthError } from './types.js'

interface Parts {
  state: State
  refreshing: Refreshing
  transport: Transport
  fetch: typeof globalThis.fetch
  origins: string[]
}

/**
 * `fetch` as the user: with the access token or cookie, renewed beforehand when it has run out, and afterwards when the server refuses it;
 * then the request is sent once more. The token goes to Latchkey's origin, the page's and those in `origins`; a request to another is sent
 * as it is. Relative addresses are below `url`. Rejects as `fetch` does. While nobody can say whether the session goes on, the answer is
 * Latchkey's 429 or 503, never a 401.
 */
export function createAuthorizedFetch ({ state, refreshing, transport, fetch, origins }: Parts): typeof globalThis.fetch {
  /** A version of the tokens that another server than Latchkey refuses though they are new: there is no use in renewing those. */
  let refused = -1

  return async (input, init = {}) => {
    const given = typeof input === 'object' && 'url' in input ? input : null
    const url = new URL(given?.url ?? String(input), transport.base())
    const headers = new Headers(init.headers ?? given?.headers)
    const own = transport.base().origin
    if (headers.has('authorization') ||
      ![own, platform.location?.origin, ...origins].includes(url.origin)) return await fetch(given ?? url.href, init)

    const unclear = await refreshing.live()
    if (unclear !== null) return answer(unclear)
    // A stream can be sent once.
    const isStream = (init.body as { getReader?: unknown } | null | undefined)?.getReader !== undefined

    /** `proof` goes into the body, beside what is there. */
    const attempt = (proof: object = {}): Promise<Response> => {
      if (state.accessToken !== null) headers.set('authorization', `Bearer ${state.accessToken}`)
      let { body = null } = init
      if (Object.keys(proof).length > 0) {
        body = JSON.stringify({ ...parse(typeof body === 'string' ? body : '{}'), ...proof })
        headers.set('content-type', 'application/json')
      }
      return fetch(
        given === null ? url.href : given.clone(),
        { ...url.origin === own ? transport.credentials : {}, ...init, body, headers }
      )
    }

    const { version } = state
    let reply = await attempt()
    if (reply.status === 401 &&
      state.auth !== null &&
      !isStream &&
      (url.origin === own || refused !== version) &&
      isAboutToken(await peek(reply))) {
      const failed = await refreshing.refresh(version)
      if (failed !== null) return answer(failed)
      if (state.auth === null) return reply
      reply = await attempt()
      if (reply.status === 401) refused = state.version
    }
    for (let asked = false; reply.status === 403 && !isStream; asked = true) {
      const error = await peek(reply)
      // A wrong proof is asked for again only if it was asked for here.
      const isWanted = error.code === 'AUTH_REAUTHENTICATE' || (asked && /WRONG_PASSWORD|FACTOR_INVALID/.test(error.code))
      const proof = isWanted ? await state.ask(error) : null
      if (proof === null) break
      reply = await attempt(placed(proof, error))
    }
    return reply
  }
}

/** A password under the name that this route has for it: `password` may be that of an account which is being made. */
function placed (proof: object, { field = 'password' }: AuthError): object {
  const { password, ...others } = proof as { password?: unknown }
  return password === undefined || field === 'totp' ? proof : { ...others, [field]: password }
}

/** The refusal in a reply that is left to be read by others. */
async function peek (reply: Response): Promise<AuthError> {
  return errorOf(reply, parse(await reply.clone().text()))
}

/** Latchkey has 401s that a new token doesn't help against, such as a wrong password. Of another server's nothing is known. */
const isAboutToken = ({ code }: AuthError): boolean =>
  !code.startsWith('AUTH_') || /^AUTH_(MISSING_TOKEN|INVALID_TOKEN|SESSION_REPLACED)$/.test(code)

/** What could not be asked, as a reply. */
function answer ({ code, status, message, retryAfterSeconds }: AuthError): Response {
  if (status === 0) throw new TypeError(message)
  return new Response(JSON.stringify({ statusCode: status, code, error: code, message }), {
    status,
    headers: { 'content-type': 'application/json', ...retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) } }
  })
}
