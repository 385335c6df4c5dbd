import type { IncomingMessage, ServerResponse } from 'node:http'
import { insufficientScope, type Refused, refusalOf } from '../http/refusal.js'
import { CrossSiteError, InsufficientAbilityError, InvalidTokenError, MissingTokenError } from '../shared/errors.js'
import { nextEventLoopTurn } from '../shared/event-loop.js'
import { can, requireAbilityName } from '../tokens/principal.js'
import type { AnyHeaders, Presented } from './presented.js'
import type { IntrospectedPrincipal, Principal } from './verifier.js'

type AnyPrincipal = Principal | IntrospectedPrincipal

/** What the middlewares of a verifier stand on. */
interface Door<P> {
  read (request: { headers: AnyHeaders, method?: string | undefined }): Presented | null
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
  /** The principal, or a refusal. Without `ability` any live token will do. */
  async function admit (request: { headers: AnyHeaders, method?: string | undefined }, ability: string | undefined): Promise<P | Refusal> {
    try {
      const presented = door.read(request)
      if (presented === null) throw new MissingTokenError()
      if (presented.foreign) throw new CrossSiteError()
      const principal = await door.find(presented)
      // Made-up tokens are refused without I/O; the replies to a flood of them should still leave together.
      if (principal === null) await nextEventLoopTurn()
      if (principal === null) throw new InvalidTokenError()
      if (ability !== undefined && !can(principal as Principal, ability)) throw new InsufficientAbilityError(ability)
      return principal
    } catch (error) {
      return describe(error as Refused, ability)
    }
  }

  return {
    requireAbility (ability?: string): NodeGuard<P> {
      if (ability !== undefined) requireAbilityName(ability)
      return async (request, response, next) => {
        const found = await admit(request, ability)
        if (isRefusal(found)) {
          response.writeHead(found.status, found.headers).end(found.text)
          return
        }
        request.auth = found
        next()
      }
    },

    hono: {
      requireAbility (ability?: string): HonoGuard {
        if (ability !== undefined) requireAbilityName(ability)
        return async (context, next) => {
          const found = await admit(context.req.raw, ability)
          if (isRefusal(found)) return new Response(found.text, found)
          context.set('auth', found)
          await next()
          return undefined
        }
      }
    }
  }
}

function isRefusal (found: AnyPrincipal | Refusal): found is Refusal {
  return 'status' in found
}

function describe (error: Refused, ability: string | undefined): Refusal {
  const { status, headers, body } = refusalOf(error)
  const challenge = error instanceof InsufficientAbilityError ? { 'www-authenticate': insufficientScope(ability as string) } : {}
  return {
    status,
    headers: { ...headers, ...challenge, 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' },
    text: JSON.stringify(body)
  }
}
