import type { IncomingMessage, ServerResponse } from 'node:http'
import { insufficientAuthentication, insufficientScope, type Refused, refusalOf } from '../http/refusal.js'
import {
  CrossSiteError, InsufficientAbilityError, InvalidTokenError, MissingTokenError, SecondFactorRequiredError
} from '../shared/errors.js'
import { nextEventLoopTurn } from '../shared/event-loop.js'
import { can, requireAbilityName, usedFactor } from '../tokens/principal.js'
import type { AnyHeaders, Presented } from './presented.js'
import type { IntrospectedPrincipal, Principal } from './verifier.js'

type AnyPrincipal = Principal | IntrospectedPrincipal

interface Asking { headers: AnyHeaders, method?: string | undefined }

/** What a token must have: an ability, or a session that a second factor helped to open. */
interface Needed { ability?: string | undefined, factor?: boolean }

/** What the middlewares of a verifier stand on. */
interface Door<P> {
  read (request: Asking): Presented | null
  find (presented: Presented): Promise<P | null>
}

/** Refused, as the server's own routes would: what to send. */
interface Refusal { status: number, headers: Record<string, string>, text: string }

/** Middleware of Express and of plain `node:http`: sets `req.auth` and goes on, or answers 401, 403 or 503 as Latchkey does. */
export type NodeGuard<P> = (request: IncomingMessage & { auth?: P }, response: ServerResponse, next: () => void) => Promise<void>

/** What a middleware of Hono is given: `c.var.auth` is the principal. */
export interface HonoContext { req: { raw: Request }, set (name: 'auth', principal: unknown): void }
export type HonoGuard = (context: HonoContext, next: () => Promise<void>) => Promise<Response | undefined>

export function createGuards<P extends AnyPrincipal> (door: Door<P>) {
  /** The principal, or a refusal. Without `ability` and `factor` any live token will do. */
  async function admit (request: Asking, { ability, factor = false }: Needed): Promise<P | Refusal> {
    try {
      const presented = door.read(request)
      if (presented === null) throw new MissingTokenError()
      if (presented.foreign) throw new CrossSiteError()
      const principal = await door.find(presented)
      // Made-up tokens are refused without I/O; the replies to a flood of them should still leave together.
      if (principal === null) await nextEventLoopTurn()
      if (principal === null) throw new InvalidTokenError()
      if (ability !== undefined && !can(principal as Principal, ability)) throw new InsufficientAbilityError(ability)
      if (factor && !usedFactor(principal.amr)) throw new SecondFactorRequiredError()
      return principal
    } catch (error) {
      return describe(error as Refused, ability)
    }
  }

  function nodeGuard (needed: Needed): NodeGuard<P> {
    if (needed.ability !== undefined) requireAbilityName(needed.ability)
    return async (request, response, next) => {
      const found = await admit(request, needed)
      if (isRefusal(found)) {
        response.writeHead(found.status, found.headers).end(found.text)
        return
      }
      request.auth = found
      next()
    }
  }

  function honoGuard (needed: Needed): HonoGuard {
    if (needed.ability !== undefined) requireAbilityName(needed.ability)
    return async (context, next) => {
      const found = await admit(context.req.raw, needed)
      if (isRefusal(found)) return new Response(found.text, found)
      context.set('auth', found)
      await next()
      return undefined
    }
  }

  return {
    requireAbility: (ability?: string) => nodeGuard({ ability }),
    requireFactor: () => nodeGuard({ factor: true }),
    hono: { requireAbility: (ability?: string) => honoGuard({ ability }), requireFactor: () => honoGuard({ factor: true }) }
  }
}

function isRefusal (found: AnyPrincipal | Refusal): found is Refusal {
  return 'status' in found
}

function describe (error: Refused, ability: string | undefined): Refusal {
  const { status, headers, body } = refusalOf(error)
  const challenge = challengeOf(error, ability)
  return {
    status,
    headers: {
      ...headers,
      ...challenge === null ? {} : { 'www-authenticate': challenge },
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store'
    },
    text: JSON.stringify(body)
  }
}

function challengeOf (error: Refused, ability: string | undefined): string | null {
  if (error instanceof InsufficientAbilityError) return insufficientScope(ability as string)
  return error instanceof SecondFactorRequiredError ? insufficientAuthentication : null
}
