import { createHash } from 'node:crypto'
import type { Api } from './api.js'
import type { Reply } from './client.js'

/** The kinds of token: of a session without refresh tokens, of one with them, or personal. */
export const kinds = ['access', 'refreshed', 'personal'] as const
export type Kind = typeof kinds[number]

/** What the driver knows about a token. It is live until a request that ends it is sent, and dead once one was answered 2xx. */
export interface Token {
  plain: string
  hash: string
  kind: Kind
  sessionId: string
  bornAt: number
  /** Whether an instance has accepted it from the cache. */
  hit: boolean
  sentAt: number | null
  deadAt: number | null
  diedIn: string | null
  history: string[]
}

export interface User {
  id: string
  email: string
  password: string
  tokens: Token[]
  busy: boolean
  /** False once the server may have sessions that the driver doesn't know. */
  certain: boolean
  bornAt: number
}

export type Verdict = 'accepted' | 'refused' | 'answer'
export interface Violation { kind: Verdict, fault: string, text: string, token: Token | null }

const bucketMs = 100

interface Counts { reads: number, accepted: number, revoked: number, revokedAfterHit: number }

const createCounts = (): Counts => ({ reads: 0, accepted: 0, revoked: 0, revokedAfterHit: 0 })

/** Counts for one fault, summed over its rounds. */
export function createStats () {
  return {
    reads: 0, hits: 0, accepted: 0, revoked: 0, revokedAfterHit: 0, revocations: 0, unresolved: 0, deaths: 0, slowestMs: 0, trustBackMs: 0 as number
      | null, cold: false,
    kinds: { access: createCounts(), refreshed: createCounts(), personal: createCounts() } satisfies Record<Kind, Counts>,
    /**
     * Uses of refresh tokens: exchanged, exchanged twice at once, repeated within the grace, and reuses that ended a session; access tokens
     * that ended because a refresh gave one too many.
     */
    refreshes: 0, parallel: 0, repeats: 0, reuses: 0, surplus: 0, /** Refresh tokens presented after their session had ended. */ late: 0,
    unavailable: new Set<number>(), violations: { accepted: 0, refused: 0, answer: 0 } satisfies Record<Verdict, number>
  }
}

export type Stats = ReturnType<typeof createStats>

/** Checks every answer: only the oracle decides what is a violation. */
export type Oracle = ReturnType<typeof createOracle>

export function createOracle () {
  const byFault = new Map<string, Stats>()
  const violations: Violation[] = []
  let fault = 'start'
  let mayBeLostBefore = Number.NEGATIVE_INFINITY
  const statsOf = (name: string): Stats => byFault.get(name) ?? byFault.set(name, createStats()).get(name)!

  function report (kind: Verdict, where: string, text: string, token: Token | null): void {
    statsOf(where).violations[kind]++
    violations.push({ kind, fault: where, text, token })
  }

  /** True when `status` is one of those a client may meet. A lost connection is, where the instance was not up all the while. */
  function judgeStatus (api: Api, what: string, reply: Reply & { excused: boolean }, allowed: number[]): boolean {
    if (reply.status === 503) statsOf(fault).unavailable.add(Math.floor(reply.endedAt / bucketMs))
    if (reply.status === null ? reply.excused : [...allowed, 401, 429, 503].includes(reply.status)) return true
    report(
      'answer',
      fault,
      `${what} on API ${api.index}: ${reply.status ??
        reply.failure} ${reply.body.slice(0, 200)} after ${Math.round(reply.endedAt - reply.startedAt)} ms`,
      null
    )
    return false
  }

  const mayBeLost = ({ bornAt }: { bornAt: number }) => bornAt < mayBeLostBefore

  function note (token: Token, api: Api, what: string, reply: Reply): void {
    token.history.push(
      `${reply.startedAt.toFixed(1)} to ${reply.endedAt.toFixed(1)} ${what} on API ${api.index}: ${reply.status ??
        reply.failure}${reply.fromCache ? ' from the cache' : ''}`
    )
    if (token.history.length > 60) token.history.splice(0, 20)
  }

  return {
    byFault,
    violations,
    statsOf,
    judgeStatus,
    note,
    get fault () { return fault },
    enter (name: string): void { fault = name },

    judgeRead (token: Token, api: Api, reply: Reply & { excused: boolean }): void {
      const stats = statsOf(fault)
      stats.reads++
      stats.kinds[token.kind].reads++
      note(token, api, 'GET /v1/me', reply)
      if (!judgeStatus(api, 'GET /v1/me', reply, [200])) return
      if (reply.status === 200) {
        stats.accepted++
        stats.kinds[token.kind].accepted++
        if (reply.fromCache) {
          stats.hits++
          if (token.sentAt === null) token.hit = true
        }
        if (token.deadAt !== null && reply.startedAt > token.deadAt) {
          report(
            'accepted',
            token.diedIn ?? fault,
            `a token was accepted ${(reply.startedAt - token.deadAt).toFixed(1)} ms after its revocation, on API ${api.index} during ${fault}`,
            token
          )
          token.deadAt = null
        }
      } else if (reply.status === 401 && token.sentAt === null) {
        if (!mayBeLost(token)) report('refused', fault, `a live token was refused on API ${api.index}`, token)
        token.sentAt = performance.now()
      }
    },

    refused (user: User, what: string, api: Api, token: Token | null = user.tokens[0] ?? null): void {
      if (!mayBeLost(user)) report('refused', fault, `${what} by a live token or a right password was refused on API ${api.index}`, token)
    },

    /** `during`: the fault during which the request was sent. */
    ended (tokens: Token[], reply: Reply, during: string): void {
      const stats = statsOf(during)
      stats.revocations++
      stats.slowestMs = Math.max(stats.slowestMs, reply.endedAt - reply.startedAt)
      for (const token of tokens) {
        token.deadAt = reply.endedAt
        token.diedIn = during
        for (const counts of [stats, stats.kinds[token.kind]]) {
          counts.revoked++
          if (token.hit) counts.revokedAfterHit++
        }
      }
    },

    /** `deadAt`: when the end of its session was answered. After that it must not be exchanged. */
    judgeLateRefresh (deadAt: number, token: Token, api: Api, reply: Reply & { excused: boolean }): void {
      statsOf(fault).late++
      note(token, api, 'POST /v1/refresh for its dead session', reply)
      if (judgeStatus(api, 'POST /v1/refresh', reply, [200]) && reply.status === 200 && reply.startedAt > deadAt) {
        report(
          'accepted',
          token.diedIn ?? fault,
          `a refresh token was accepted ${(reply.startedAt - deadAt).toFixed(1)} ms after its revocation, on API ${api.index} during ${fault}`,
          token
        )
      }
    },

    /** Reports another fault of refreshing. */
    broken (user: User, text: string, token: Token | null): void { if (!mayBeLost(user)) report('answer', fault, text, token) },

    /** The database may have lost anything acknowledged so far but revocations: of who existed, nothing else is claimed from now on. */
    mayHaveLost (): void { mayBeLostBefore = performance.now() },
    mayBeLost,

    crashed (text: string): void { report('answer', fault, text, null) },

    died (): void { statsOf(fault).deaths++ },

    unresolved (): void { statsOf(fault).unresolved++ }
  }
}

/** `bornAt`: when the request was sent that it is from; a crash after that may have undone it, however late the answer came. */
export function createToken (plain: string, sessionId: string, bornAt: number, kind: Kind = 'access'): Token {
  return {
    plain,
    hash: createHash('sha256').update(plain).digest('hex'),
    kind,
    sessionId,
    bornAt,
    hit: false,
    sentAt: null,
    deadAt: null,
    diedIn: null,
    history: []
  }
}
