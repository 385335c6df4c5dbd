import { createEdgeVerifier, type EdgeVerifier, type EdgeVerifierOptions, type Principal } from './edge.js'
import { requireAbilityName } from './verifying/principal.js'
import { createSignIn, type SignInOptions } from './verifying/sign-in.js'

export type { EdgeVerifierOptions, Presentation, Principal } from './edge.js'
export { UnavailableError } from './edge.js'
export type { SignInOptions } from './verifying/sign-in.js'

/** What is needed of a NextRequest, or of any Request. */
export interface NextLikeRequest { url: string, method: string, headers: Headers }

export interface NextVerifierOptions extends EdgeVerifierOptions, SignInOptions {}

/** What a token has to be allowed; without `ability` any live one will do. */
export interface Requirements { ability?: string | undefined }

/** Whose requests a Next.js application gets. `verify(await headers())` is for server components and actions. */
export interface NextVerifier extends EdgeVerifier {
  /**
   * For proxy.ts, and for middleware before Next.js 16: undefined lets the request pass. A browser that wants a page is sent to the
   * sign-in page; any other request that may not pass is answered as Latchkey's own routes do. Throws TypeError for an impossible ability.
   */
  proxy (request: NextLikeRequest, requirements?: Requirements): Promise<Response | undefined>
  /** A route handler that is called for those who may, with whose request it is; the others get 401, 403 or 503. Throws TypeError. */
  handler<R extends NextLikeRequest, C> (
    work: (request: R, principal: Principal, context: C) => Response | Promise<Response>,
    requirements?: Requirements
  ): (request: R, context: C) => Promise<Response>
  /** Where people sign in, and come back from to `from`, a URL or a path. Null without `signIn` and `publicUrl`. */
  signInUrl (from?: string): string | null
}

/**
 * `options` may be a function, called with the first request: `next build` loads routes where the secrets of the environment are missing.
 * Throws TypeError for options that can't be used.
 */
export function createNextVerifier (options: NextVerifierOptions | (() => NextVerifierOptions)): NextVerifier {
  let made: ReturnType<typeof make> | null = typeof options === 'function' ? null : make(options)
  const parts = () => made ??= make((options as () => NextVerifierOptions)())

  return {
    verify: async presentation => await parts().verifier.verify(presentation),
    admit: async (presentation, requirements) => await parts().verifier.admit(presentation, requirements),

    async proxy (request, requirements) {
      const { verifier, signIn } = parts()
      const found = await verifier.admit(request, requirements)
      if (!(found instanceof Response)) return undefined
      const page = found.status === 401 && isNavigation(request) ? signIn.forRequest(request) : null
      return page === null ? found : new Response(null, { status: 302, headers: { location: page, 'cache-control': 'no-store' } })
    },

    handler (work, requirements = {}) {
      if (requirements.ability !== undefined) requireAbilityName(requirements.ability)
      return async (request, context) => {
        const found = await parts().verifier.admit(request, requirements)
        return found instanceof Response ? found : await work(request, found, context)
      }
    },

    signInUrl: from => parts().signIn.url(from ?? null)
  }
}

function make (options: NextVerifierOptions) {
  return { verifier: createEdgeVerifier(options), signIn: createSignIn(options) }
}

/** Whether a browser waits for a page to show, which could as well be another one. */
function isNavigation ({ method, headers }: NextLikeRequest): boolean {
  const mode = headers.get('sec-fetch-mode')
  if (method !== 'GET' && method !== 'HEAD') return false
  // Over http browsers send Sec-Fetch-* to loopback alone.
  if (mode === null) return /\btext\/html\b/i.test(headers.get('accept') ?? '')
  return mode === 'navigate' && (headers.get('sec-fetch-dest') ?? 'document') === 'document'
}
