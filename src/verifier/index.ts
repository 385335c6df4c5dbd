import type { Config } from '../config/config.js'
import { ownOrigins } from '../config/values.js'
import { createDirect, type VerifierLog } from './direct.js'
import { createGuards, type HonoGuard, type NodeGuard } from './guards.js'
import { type EnvironmentOptions, readOptions } from './options.js'
import { createPresentedReader, type Presentation, type Presented } from './presented.js'
import { createRemote, type RemoteOptions } from './remote.js'
import type { IntrospectedPrincipal, Principal, Source, VerifierStats } from './verifier.js'

export { ConfigError } from '../config/config.js'
export { UnavailableError } from '../shared/errors.js'
export type { HonoContext, HonoGuard, NodeGuard } from './guards.js'
export type { AnyHeaders, Presentation } from './presented.js'
export type { IntrospectedPrincipal, Principal, VerifierLog, VerifierStats }

/** Checks tokens in any process: strictly, for what the server has answered with 2xx is true here in the next call. */
export interface Verifier<P extends Principal | IntrospectedPrincipal = Principal> {
  /**
   * Whose request this is; null for no token, or for one that is malformed, unknown, expired or revoked, or a service's. Takes a token,
   * headers of Node or of `fetch`, or a request. Only of a request is the method known: a cookie that another site's page sent along with
   * one that changes something gives null. Throws UnavailableError when nobody can say.
   */
  verify (presentation: Presentation): Promise<P | null>
  /**
   * What is kept with the session whose request this is (`PUT /v1/session/data`), `{}` before the first write; null for what `verify`
   * answers with null, and for a personal token. What a write has been answered with is in the next call. Throws UnavailableError.
   */
  sessionData (presentation: Presentation): Promise<Record<string, unknown> | null>
  /** For Express 5 and `node:http`: `(req, res, next)`, sets `req.auth`. Without a name any live token will do. Throws TypeError. */
  requireAbility (ability?: string): NodeGuard<P>
  /** The same for sessions that a second factor helped to open: 403 AUTH_SECOND_FACTOR_REQUIRED for all others. */
  requireFactor (): NodeGuard<P>
  /** For Hono: sets `c.var.auth`. */
  hono: { requireAbility (ability?: string): HonoGuard, requireFactor (): HonoGuard }
  /**
   * Resolves once it can verify; rejects with the reason why it can't yet, and goes on trying: ConfigError, DatabaseUnreachableError,
   * OtherVersionError, RedisRefusedError, or UnavailableError.
   */
  ready (): Promise<void>
  stats (): VerifierStats
  /** Writes the last uses that are left, and closes every connection. */
  close (): Promise<void>
}

/** `cookieSecure` and `corsOrigins` as the server has them, where cookies are verified. */
export type RemoteVerifierOptions = RemoteOptions & Pick<EnvironmentOptions, 'cookieSecure' | 'corsOrigins' | 'publicUrl'>

/** As the server's environment has them: what is not given has the default of the README's table. */
export type DirectVerifierOptions = EnvironmentOptions & { databaseUrl: string, log?: VerifierLog }

const silent: VerifierLog = { info () {}, warn () {} }

/** Throws ConfigError for options that can't be used. */
export function createVerifier (options: RemoteVerifierOptions): Verifier<IntrospectedPrincipal>
export function createVerifier (options: DirectVerifierOptions): Verifier<Principal>
export function createVerifier (
  options: RemoteVerifierOptions | DirectVerifierOptions
): Verifier<IntrospectedPrincipal> | Verifier<Principal> {
  if ('url' in options) {
    const { url, token, ...rest } = options
    return join(createRemote({ url, token }), readOptions(rest))
  }
  const { log = silent, ...rest } = options
  const config = readOptions(rest)
  return join(createDirect(config, log), config)
}

function join<P extends Principal | IntrospectedPrincipal> (source: Source<P>, config: Config): Verifier<P> {
  const read = createPresentedReader({ cookieSecure: config.cookieSecure, origins: ownOrigins(config) })

  async function find ({ token, byCookie }: Presented): Promise<P | null> {
    const principal = await source.find(token)
    // Cookies carry only tokens of sessions: personal tokens belong in a header.
    return byCookie && principal?.session === null ? null : principal
  }

  return {
    async verify (presentation) {
      const presented = read(presentation)
      return presented === null || presented.foreign ? null : await find(presented)
    },
    async sessionData (presentation) {
      const presented = read(presentation)
      return presented === null || presented.foreign ? null : await source.sessionData(presented.token)
    },
    ...createGuards<P>({ read, find }),
    ready: source.ready,
    stats: source.stats,
    close: source.close
  }
}
