import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Api } from './api.js'
import type { Call, Reply } from './client.js'
import { createToken, type Oracle, type Token, type User } from './oracle.js'
import type { Testbed } from './testbed.js'
import type { Plan } from './ways.js'

/** REFRESH_GRACE of the run. */
export const graceMs = 6_000
/** Allows for the difference between the driver's clock and the time an instance recorded. */
const marginMs = 700
const mostPersonal = 2
/** Live access tokens of a session: the server ends the oldest for one more. */
const mostLive = 10
/** How often a session is refreshed before it ends: a third of them so often that their first access tokens end by it. */
const leastRefreshes = [3, 3, mostLive + 1]

type Answer = Reply & { excused: boolean }

/** The part of the load that accounts with refresh tokens need. */
interface Load {
  read (token: Token, api: Api): Promise<Answer>
  revoke (user: User, plan: Plan, first?: Api | null): Promise<boolean>
  hammer (token: Token): void
  track<T> (work: Promise<T>): Promise<T>
  later (work: (api: Api) => Promise<unknown>): void
  dying: Set<Token>
  readonly stopped: boolean
  readonly revoking: boolean
}

/** A user with one session that refreshes, and personal tokens. `user.tokens` are the session's live access tokens. */
interface Account {
  user: User
  sessionId: string
  refresh: string
  leastRefreshes: number
  /** Consumed refresh tokens, oldest first, each with the time of the answer. */
  consumed: Array<{ plain: string, answeredAt: number }>
  personal: Array<{ id: string, token: Token }>
}

interface Pair { accessToken: string, refreshToken: string }
interface Opened extends Pair { session: { id: string }, user: { id: string } }

const any = <T>(items: readonly T[]): T => items[Math.floor(Math.random() * items.length)] as T

/** Clients that refresh (also twice at once, and again within the grace), create personal tokens, and end both in every possible way. */
export function createFamilies ({ testbed, oracle, load }: { testbed: Testbed, oracle: Oracle, load: Load }) {
  async function ask (what: Call, allowed: number[]): Promise<Answer & { api: Api } | null> {
    const api = testbed.anyUp()
    if (api === null) return null
    const reply = await api.ask(what)
    return oracle.judgeStatus(api, `${what.method} ${what.path}`, reply, allowed) ? { ...reply, api } : null
  }

  async function open (): Promise<Account | null> {
    const email = `${randomBytes(8).toString('hex')}@example.com`
    const password = randomBytes(9).toString('base64url')
    const reply = await ask({ method: 'POST', path: '/v1/register', body: { email, password, refresh: true } }, [201])
    if (reply?.status !== 201) return null
    const opened = JSON.parse(reply.body) as Opened
    const user: User = { id: opened.user.id, email, password, tokens: [], busy: true, certain: true, bornAt: reply.startedAt }
    return adopt({ user, sessionId: '', refresh: '', leastRefreshes: 0, consumed: [], personal: [] }, opened, reply)
  }

  /** Opens the account's next session; its personal tokens stay. */
  async function logInAgain (account: Account): Promise<boolean> {
    const { email, password } = account.user
    for (let i = 0; i < 30 && !load.stopped; i++) {
      const reply = await ask({ method: 'POST', path: '/v1/login', body: { email, password, refresh: true } }, [200])
      if (reply?.status === 401) {
        oracle.refused(account.user, 'POST /v1/login', reply.api, null)
        return false
      }
      if (reply?.status === 200) {
        adopt(account, JSON.parse(reply.body) as Opened, reply)
        return true
      }
      await delay(200)
    }
    return false
  }

  function adopt (account: Account, { session, refreshToken, accessToken }: Opened, { startedAt }: Reply): Account {
    account.sessionId = session.id
    account.refresh = refreshToken
    account.leastRefreshes = any(leastRefreshes)
    account.consumed = []
    account.user.tokens = [createToken(accessToken, session.id, startedAt, 'refreshed')]
    return account
  }

  const present = (
    refreshToken: string,
    api: Api
  ): Promise<Answer> => api.ask({ method: 'POST', path: '/v1/refresh', body: { refreshToken } })

  /**
   * Exchanges the refresh token, `times` at once on as many instances as are up. False when that can't be had within the grace, or one
   * of them was refused past it: then nobody knows what the server did.
   */
  async function refresh (account: Account, times: number): Promise<boolean> {
    const presented = account.refresh
    const firstAt = performance.now()
    const stats = () => oracle.statsOf(oracle.fault)
    let given: Pair | null = null
    let late = false
    const surplus = account.user.tokens.splice(0, account.user.tokens.length - mostLive + 1)
    for (const token of surplus) {
      token.sentAt ??= performance.now()
      load.dying.add(token)
    }

    async function exchange (): Promise<void> {
      const api = testbed.anyUp()
      if (api === null) return
      const during = oracle.fault
      const reply = await present(presented, api)
      for (const token of surplus) oracle.note(token, api, 'POST /v1/refresh past the most access tokens', reply)
      // It may have counted as reuse, which ends the session.
      if (reply.status !== 200 && reply.endedAt > firstAt + graceMs - marginMs) late = true
      if (!oracle.judgeStatus(api, 'POST /v1/refresh', reply, [200])) return
      // The grace begins no earlier than the first request: until it ends, every exchange must return the same pair.
      if (reply.status === 401 && reply.endedAt < firstAt + graceMs) oracle.refused(account.user, 'POST /v1/refresh', api)
      if (reply.status !== 200) return
      const { accessToken, refreshToken } = JSON.parse(reply.body) as Pair
      if (given !== null && (given.accessToken !== accessToken || given.refreshToken !== refreshToken)) {
        oracle.broken(account.user, 'a refresh token was given two successors', account.user.tokens[0] ?? null)
      }
      if (given === null && surplus.length > 0) {
        oracle.ended(surplus, reply, during)
        oracle.statsOf(during).surplus += surplus.length
        for (const token of surplus) load.hammer(token)
      }
      given ??= { accessToken, refreshToken }
    }

    while (given === null && performance.now() < firstAt + graceMs - marginMs && !load.stopped) {
      await Promise.all(Array.from({ length: times }, exchange))
      if (given === null) await delay(100)
    }
    for (const token of surplus) load.dying.delete(token)
    if (given === null) return false
    stats().refreshes++
    if (times > 1) stats().parallel++
    if (Math.random() < 0.3 && performance.now() < firstAt + graceMs - marginMs) {
      await exchange()
      stats().repeats++
    }
    if (late) return false
    const { accessToken, refreshToken } = given as Pair
    account.consumed.push({ plain: presented, answeredAt: performance.now() })
    account.refresh = refreshToken
    account.user.tokens.push(createToken(accessToken, account.sessionId, firstAt, 'refreshed'))
    return true
  }

  async function makePersonal (account: Account): Promise<void> {
    const reply = await ask(
      { method: 'POST', path: '/v1/tokens', token: account.user.tokens.at(-1)?.plain, body: { name: 'program' } },
      [201]
    )
    if (reply?.status === 401) oracle.refused(account.user, 'POST /v1/tokens', reply.api, account.user.tokens.at(-1) ?? null)
    if (reply?.status !== 201) return
    const { accessToken, token } = JSON.parse(reply.body) as { accessToken: string, token: { id: string } }
    account.personal.push({ id: token.id, token: createToken(accessToken, '', reply.startedAt, 'personal') })
  }

  async function endPersonal (account: Account): Promise<void> {
    const [{ id, token }] = account.personal.splice(0, 1) as [Account['personal'][number]]
    const caller = account.user.tokens.at(-1)?.plain
    const plan: Plan = {
      what: 'DELETE /v1/tokens/:id',
      call: { method: 'DELETE', path: `/v1/tokens/${id}`, token: caller },
      ends: [token],
      repeatable: true,
      opens: null
    }
    await load.revoke(account.user, plan)
    account.user.certain = true
  }

  /** Ends the session with one of the tokens that can do it. True if that was answered. */
  async function end (account: Account): Promise<boolean> {
    const { user, refresh, consumed } = account
    const old = consumed.findLast(({ answeredAt }) => answeredAt < performance.now() - graceMs - marginMs)
    if (old !== undefined && Math.random() < 0.6) return await reuse(account, old.plain)
    const [
      path,
      what
    ] = any(
      [
        ['/v1/logout', 'logout by refresh token'],
        ['/v1/logout', 'logout by access token'],
        ['/v1/logout-all', 'logout-all by refresh token']
      ] as const
    )
    const byRefresh = what !== 'logout by access token'
    const body = { refreshToken: path === '/v1/logout' && Math.random() < 0.3 ? consumed.at(-1)?.plain ?? refresh : refresh }
    const call: Call = { method: 'POST', path, ...byRefresh ? { body } : { token: any(user.tokens).plain } }
    const dead = [...user.tokens]
    // A logout-all by refresh token can only be repeated if the first one was not carried out.
    if (!await load.revoke(
      user,
      { what: `${path} (${what})`, call, ends: dead, repeatable: path === '/v1/logout', opens: null }
    )) return false
    hammerRefresh(account, dead[0] as Token)
    return true
  }

  /** Presents a refresh token consumed longer ago than the grace: it ends the session, with the answer 401. */
  async function reuse (account: Account, old: string): Promise<boolean> {
    const { user } = account
    const dead = user.tokens.splice(0)
    for (const token of dead) {
      token.sentAt ??= performance.now()
      load.dying.add(token)
    }
    try {
      const api = testbed.anyUp()
      if (api === null) return false
      const during = oracle.fault
      const reply = await present(old, api)
      for (const token of dead) oracle.note(token, api, 'POST /v1/refresh with an old token', reply)
      if (!oracle.judgeStatus(api, 'POST /v1/refresh', reply, [200])) return false
      if (reply.status === 200) oracle.broken(user, 'a refresh token was exchanged again past the grace', dead[0] ?? null)
      if (reply.status !== 401) return false
      const { code } = JSON.parse(reply.body) as { code: string }
      if (code !== 'AUTH_TOKEN_REUSED') {
        oracle.broken(user, `a refresh token used again past the grace was answered with ${code}`, dead[0] ?? null)
        return false
      }
      oracle.ended(dead, reply, during)
      oracle.statsOf(during).reuses++
      for (const token of dead) load.hammer(token)
      hammerRefresh(account, dead[0] as Token)
      return true
    } finally {
      for (const token of dead) load.dying.delete(token)
    }
  }

  /** Presents the ended session's last two refresh tokens on every instance, and again later: none may be exchanged. */
  function hammerRefresh ({ refresh, consumed }: Account, dead: Token): void {
    const { deadAt } = dead
    if (deadAt === null) return
    const before = consumed.at(-1)?.plain ?? refresh
    const attempt = async (plain: string, api: Api) => oracle.judgeLateRefresh(deadAt, dead, api, await present(plain, api))
    for (const api of testbed.apis) if (api.state !== 'down') void load.track(attempt(refresh, api))
    load.later(api => attempt(any([refresh, before]), api))
  }

  async function readAll (account: Account): Promise<void> {
    for (const token of [...account.user.tokens, ...account.personal.map(({ token }) => token)]) {
      const api = testbed.anyUp()
      if (api !== null && (!token.hit || Math.random() < 0.3)) await load.read(token, api)
    }
  }

  /** Stops using an account whose state on the server is unknown. */
  function abandon ({ user, personal }: Account): void {
    for (const token of [...user.tokens, ...personal.map(({ token }) => token)]) token.sentAt ??= performance.now()
    oracle.unresolved()
  }

  async function live (account: Account): Promise<void> {
    while (!load.stopped) {
      await delay(30 + Math.random() * 120)
      await readAll(account)
      const { user, personal, consumed } = account
      if (oracle.mayBeLost(user)) return abandon(account)
      // While nothing is to be ended, that includes access tokens that a refresh would end.
      const mayRefresh = load.revoking || user.tokens.length < mostLive
      if (mayRefresh && (consumed.length < account.leastRefreshes || Math.random() < 0.1)) {
        if (!await refresh(account, any([1, 1, 2]))) return abandon(account)
        continue
      }
      if (personal.length < mostPersonal) await makePersonal(account)
      if (!load.revoking) continue
      if (personal.length > 0 && personal[0]?.token.hit === true) await endPersonal(account)
      // Some accounts wait until a consumed token is old enough for reuse.
      const waits = user.id < '8' && (consumed[0]?.answeredAt ?? 0) > performance.now() - graceMs - marginMs
      if (waits || !user.tokens.every(({ hit }) => hit)) continue
      const ended = await end(account)
      if (!ended) return abandon(account)
      if (!await logInAgain(account)) return abandon(account)
    }
  }

  return {
    actors: 8,
    /** Uses one account after another, each until its state is unknown. */
    async act (): Promise<void> {
      while (!load.stopped) {
        const account = await open()
        if (account === null) await delay(200)
        else await live(account)
      }
    }
  }
}
