import type { Tx } from '../database/transaction.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import type { Principal } from '../tokens/principal.js'
import type { RefreshToken, TokenService } from '../tokens/service.js'
import type { PlainToken } from '../tokens/token.js'
import type { User } from '../users/user.js'
import type { LoginOptions } from './service.js'
import type { Session, SessionStore } from './store.js'

/** How long things last, in seconds. */
export interface Lifetimes {
  tokenTtlSeconds: number
  accessTokenTtlSeconds: number
  refreshTokenTtlSeconds: number
  sessionTtlSeconds: number
  refreshGraceSeconds: number
}

/** A session just opened or renewed, with its tokens: the only place where the plaintext leaves. */
export interface Opened {
  access: { plain: PlainToken, expiresInSeconds: number }
  refresh: { plain: PlainToken, expiresInSeconds: number } | null
  session: Session
  user: User
  abilities: string[]
}

interface Parts { store: SessionStore, tokens: TokenService, clock: Clock, lifetimes: Lifetimes }

export type OpeningOfSessions = ReturnType<typeof createOpening>

/** Gives a session its tokens: at log-in, after a password change, at each refresh. */
export function createOpening ({ store, tokens, clock, lifetimes }: Parts) {
  async function open (tx: Tx, user: User, { deviceName, abilities, refresh = false }: LoginOptions, device: Device): Promise<Opened> {
    const createdAt = new Date(clock.now())
    const seconds = refresh ? lifetimes.sessionTtlSeconds : Math.min(lifetimes.tokenTtlSeconds, lifetimes.sessionTtlSeconds)
    const session = await store.insert(tx, {
      userId: user.id,
      deviceName: deviceName ?? null,
      userAgent: device.userAgent,
      ip: device.address,
      createdAt,
      expiresAt: after(createdAt, seconds),
      refreshes: refresh
    })
    return await renew(tx, session, user, abilities ?? ['*'])
  }

  /** New tokens for `session`, unrelated to any before. */
  const renew = (tx: Tx, session: Session, user: User, abilities: string[]): Promise<Opened> => grant(tx, session, user, abilities, null)

  /** The successors of a refresh token that hasn't been used; refreshing counts as a use of the session. */
  async function succeed (tx: Tx, session: Session, user: User, presented: PlainToken, row: RefreshToken): Promise<Opened> {
    const secret = await tokens.consume(tx, row.id)
    await store.use(tx, session.id, new Date(clock.now()))
    return await grant(tx, session, user, row.abilities, tokens.successors(presented, secret))
  }

  /** The successors that `presented` has already been given; null when they were used or revoked. */
  async function repeat (tx: Tx, session: Session, user: User, presented: PlainToken, secret: Buffer): Promise<Opened | null> {
    const { access, refresh } = tokens.successors(presented, secret)
    const row = await tokens.requireRefresh(tx, refresh)
    if (row === null || row.revoked || row.consumedAt !== null) return null
    const now = new Date(clock.now())
    // Both were issued together: the access token's end follows from the refresh token's row.
    const accessEnds = earlier(after(row.createdAt, lifetimes.accessTokenTtlSeconds), session.expiresAt)
    return {
      access: { plain: access, expiresInSeconds: secondsBetween(now, accessEnds) },
      refresh: { plain: refresh, expiresInSeconds: secondsBetween(now, row.expiresAt) },
      session,
      user,
      abilities: row.abilities
    }
  }

  async function grant (tx: Tx, session: Session, user: User, abilities: string[], plain: Record<'access' | 'refresh', PlainToken> | null): Promise<Opened> {
    const createdAt = new Date(clock.now())
    const common = { userId: user.id, sessionId: session.id, abilities, createdAt }
    const accessEnds = earlier(after(createdAt, session.refreshes ? lifetimes.accessTokenTtlSeconds : lifetimes.tokenTtlSeconds), session.expiresAt)
    const refreshEnds = earlier(after(createdAt, lifetimes.refreshTokenTtlSeconds), session.expiresAt)
    const principalOf = (id: string) => principal(id, session, user, abilities, createdAt, accessEnds)
    const access = await tokens.issue(tx, { ...common, kind: 'access', expiresAt: accessEnds }, { plain: plain?.access, principalOf })
    const refresh = session.refreshes ? await tokens.issue(tx, { ...common, kind: 'refresh', expiresAt: refreshEnds }, { plain: plain?.refresh }) : null
    return {
      access: { plain: access.plain, expiresInSeconds: secondsBetween(createdAt, accessEnds) },
      refresh: refresh === null ? null : { plain: refresh.plain, expiresInSeconds: secondsBetween(createdAt, refreshEnds) },
      session,
      user,
      abilities
    }
  }

  /** What an access token of a session stands for. */
  function principal (id: string, session: Session, user: User, abilities: string[], createdAt: Date, expiresAt: Date): Principal {
    return {
      issuedAtMs: createdAt.getTime(),
      expiresAtMs: expiresAt.getTime(),
      ...store.idleSeconds === null ? {} : { idleAtMs: clock.now() + store.idleSeconds * 1000 },
      token: { id, kind: 'access', abilities, expiresAt: expiresAt.toISOString() },
      session: { id: session.id, deviceName: session.deviceName, createdAt: session.createdAt.toISOString(), expiresAt: session.expiresAt.toISOString() },
      user
    }
  }

  return { open, renew, succeed, repeat }
}

const after = (moment: Date, seconds: number) => new Date(moment.getTime() + seconds * 1000)
const earlier = (one: Date, other: Date) => one < other ? one : other
const secondsBetween = (from: Date, to: Date) => Math.max(0, Math.round((to.getTime() - from.getTime()) / 1000))
