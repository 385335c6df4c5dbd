import type { Tx } from '../database/transaction.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { type AuthenticationMethod, assuranceOf, type Principal, usedFactor } from '../tokens/principal.js'
import type { RefreshToken, TokenService } from '../tokens/service.js'
import type { PlainToken } from '../tokens/token.js'
import type { User } from '../users/user.js'
import type { Session, SessionStore } from './store.js'

/** What a client may ask for when it registers or logs in. */
export interface LoginOptions { deviceName?: string | undefined, abilities?: string[] | undefined, refresh?: boolean | undefined }

/** How long tokens and sessions live, in seconds. */
export interface Lifetimes {
  tokenTtlSeconds: number
  accessTokenTtlSeconds: number
  refreshTokenTtlSeconds: number
  sessionTtlSeconds: number
  refreshGraceSeconds: number
}

/** A session with the tokens it was just given. The plaintext of a token leaves the service only here. */
export interface IssuedTokens {
  access: { plain: PlainToken, expiresInSeconds: number }
  refresh: { plain: PlainToken, expiresInSeconds: number } | null
  session: Session
  user: User
  abilities: string[]
  /** How many live sessions of the user ended for this one. */
  endedSessions: number
}

/** Gives a session its tokens: at login, after a password change, and at each refresh. */
export interface SessionOpener {
  /** A new session with its first tokens; `amr`: how the user has just proved who they are. */
  open (tx: Tx, user: User, options: LoginOptions, device: Device, amr: AuthenticationMethod[]): Promise<IssuedTokens>
  /** New random tokens for an existing session. */
  renew (tx: Tx, session: Session, user: User, abilities: string[]): Promise<IssuedTokens>
  /** Consumes a refresh token and issues its successors. Counts as a use of the session. */
  succeed (tx: Tx, session: Session, user: User, presented: PlainToken, row: RefreshToken): Promise<IssuedTokens>
  /** The successors that `presented` has already been given; null when they have been used or revoked. */
  repeat (tx: Tx, session: Session, user: User, presented: PlainToken, secret: Buffer): Promise<IssuedTokens | null>
}

interface OpenerDependencies {
  store: Pick<SessionStore, 'insert' | 'use' | 'idleSeconds'>
  tokens: Pick<TokenService, 'issue' | 'consume' | 'successors' | 'findRefreshLocked'>
  clock: Clock
  lifetimes: Lifetimes
}

export function createSessionOpener ({ store, tokens, clock, lifetimes }: OpenerDependencies): SessionOpener {
  async function open (
    tx: Tx,
    user: User,
    options: LoginOptions,
    device: Device,
    amr: AuthenticationMethod[]
  ): Promise<IssuedTokens> {
    const { deviceName, abilities, refresh = false } = options
    const createdAt = new Date(clock.now())
    const seconds = refresh ? lifetimes.sessionTtlSeconds : Math.min(lifetimes.tokenTtlSeconds, lifetimes.sessionTtlSeconds)
    const session = await store.insert(tx, {
      userId: user.id,
      deviceName: deviceName ?? null,
      userAgent: device.userAgent,
      ip: device.address,
      createdAt,
      expiresAt: after(createdAt, seconds),
      refreshes: refresh,
      amr
    })
    return await issue(tx, session, user, abilities ?? ['*'])
  }

  async function succeed (tx: Tx, session: Session, user: User, presented: PlainToken, row: RefreshToken): Promise<IssuedTokens> {
    const secret = await tokens.consume(tx, row.id)
    await store.use(tx, session.id, new Date(clock.now()))
    return await issue(tx, session, user, row.abilities, tokens.successors(presented, secret))
  }

  async function repeat (tx: Tx, session: Session, user: User, presented: PlainToken, secret: Buffer): Promise<IssuedTokens | null> {
    const { access, refresh } = tokens.successors(presented, secret)
    const row = await tokens.findRefreshLocked(tx, refresh)
    if (row === null || row.revoked || row.consumedAt !== null) return null
    const now = new Date(clock.now())
    // Both were issued at the same time, so the refresh token's row also says when the access token expires.
    const accessEnds = earlier(after(row.createdAt, lifetimes.accessTokenTtlSeconds), session.expiresAt)
    return {
      access: { plain: access, expiresInSeconds: secondsBetween(now, accessEnds) },
      refresh: { plain: refresh, expiresInSeconds: secondsBetween(now, row.expiresAt) },
      session,
      user,
      abilities: row.abilities,
      endedSessions: 0
    }
  }

  /** `plain`: tokens derived from a refresh token; random ones without it. */
  async function issue (
    tx: Tx, session: Session, user: User, abilities: string[], plain?: Record<'access' | 'refresh', PlainToken>
  ): Promise<IssuedTokens> {
    const createdAt = new Date(clock.now())
    const common = { userId: user.id, sessionId: session.id, abilities, createdAt }
    const accessSeconds = session.refreshes ? lifetimes.accessTokenTtlSeconds : lifetimes.tokenTtlSeconds
    const accessEnds = earlier(after(createdAt, accessSeconds), session.expiresAt)
    const refreshEnds = earlier(after(createdAt, lifetimes.refreshTokenTtlSeconds), session.expiresAt)
    const principalOf = (id: string) => principal(id, session, user, abilities, createdAt, accessEnds)
    const access = await tokens.issue(tx, { ...common, kind: 'access', expiresAt: accessEnds }, { plain: plain?.access, principalOf })
    const refresh = session.refreshes
      ? await tokens.issue(tx, { ...common, kind: 'refresh', expiresAt: refreshEnds }, { plain: plain?.refresh })
      : null
    return {
      access: { plain: access.plain, expiresInSeconds: secondsBetween(createdAt, accessEnds) },
      refresh: refresh === null ? null : { plain: refresh.plain, expiresInSeconds: secondsBetween(createdAt, refreshEnds) },
      session,
      user,
      abilities,
      endedSessions: 0
    }
  }

  function principal (id: string, session: Session, user: User, abilities: string[], createdAt: Date, expiresAt: Date): Principal {
    return {
      issuedAtMs: createdAt.getTime(),
      expiresAtMs: expiresAt.getTime(),
      ...store.idleSeconds === null ? {} : { idleAtMs: clock.now() + store.idleSeconds * 1000 },
      amr: session.amr,
      acr: assuranceOf(session.amr),
      hasFactor: usedFactor(session.amr),
      token: { id, kind: 'access', abilities, expiresAt: expiresAt.toISOString() },
      session: {
        id: session.id,
        deviceName: session.deviceName,
        createdAt: session.createdAt.toISOString(),
        expiresAt: session.expiresAt.toISOString()
      },
      user,
      emailVerified: user.emailVerifiedAt !== null
    }
  }

  return { open, renew: issue, succeed, repeat }
}

const after = (start: Date, seconds: number) => new Date(start.getTime() + seconds * 1000)
const earlier = (one: Date, other: Date) => one < other ? one : other
const secondsBetween = (from: Date, to: Date) => Math.max(0, Math.round((to.getTime() - from.getTime()) / 1000))
