import { type AnswerOptions, createAnswers } from './verifying/answers.js'
import { type CookieSettings, createPresentedReader, type Presentation, type Presented } from './verifying/presented.js'
import { can, type Principal, principalOf, requireAbilityName } from './verifying/principal.js'
import { refuse, refuseAbility, refuseForNow } from './verifying/refusal.js'
import { UnavailableError } from './verifying/unavailable.js'

export type { AnyHeaders, Presentation } from './verifying/presented.js'
export type { Principal } from './verifying/principal.js'
export { UnavailableError } from './verifying/unavailable.js'

/** `cookieSecure`, `publicUrl` and `corsOrigins` as the server has them, where cookies are verified. */
export interface EdgeVerifierOptions extends AnswerOptions, CookieSettings {}

/** Checks tokens where there is `fetch` and little else: workers, edge functions, Next.js. */
export interface EdgeVerifier {
  /**
   * Whose request this is; null for no token, or for one that is malformed, unknown, expired or revoked, or a service's. Takes a request,
   * headers or a token. A cookie that another site's page sent along with what may change something gives null. Throws UnavailableError
   * when nobody can say.
   */
  verify (presentation: Presentation): Promise<Principal | null>
  /**
   * The same, or the refusal to send: 401, 403 or 503 as Latchkey's own routes answer. Without `ability` any live token will do. Throws
   * TypeError for an ability that no token can have.
   */
  admit (presentation: Presentation, requirements?: { ability?: string | undefined }): Promise<Principal | Response>
}

/** What Latchkey's tokens look like: anything else is refused without asking. */
const shape = /^lkp?_[0-9A-Za-z]{50}$/

/**
 * Asks Latchkey at each call, and keeps no answer: a token is refused from the moment its revocation was answered. With `upstash` or
 * `memorySeconds` that may take up to EDGE_TTL. Throws TypeError for options that can't be used.
 */
export function createEdgeVerifier (options: EdgeVerifierOptions): EdgeVerifier {
  const read = createPresentedReader(options)
  const answerFor = createAnswers(options)

  async function find ({ token, byCookie }: Presented): Promise<Principal | null> {
    if (!shape.test(token)) return null
    const principal = principalOf(await answerFor(token))
    // Cookies carry only tokens of sessions: personal tokens belong in a header.
    return byCookie && principal?.session === null ? null : principal
  }

  return {
    async verify (presentation) {
      const presented = read(presentation)
      return presented === null || presented.foreign ? null : await find(presented)
    },

    async admit (presentation, { ability } = {}) {
      if (ability !== undefined) requireAbilityName(ability)
      const presented = read(presentation)
      if (presented === null) return refuse('AUTH_MISSING_TOKEN')
      if (presented.foreign) return refuse('AUTH_CROSS_SITE')
      try {
        const principal = await find(presented)
        if (principal === null) return refuse('AUTH_INVALID_TOKEN')
        return ability === undefined || can(principal, ability) ? principal : refuseAbility(ability)
      } catch (error) {
        if (error instanceof UnavailableError) return refuseForNow(error)
        throw error
      }
    }
  }
}
