import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Api } from './api.js'
import type { Reply } from './client.js'
import { createFamilies } from './families.js'
import { createToken, type Oracle, type Token, type User } from './oracle.js'
import type { Testbed } from './testbed.js'
import { anyWay, logIn, type Plan, sessionLimit } from './ways.js'

const users = 80
const readers = 6
const revokers = 14
const registrars = 2
/** When a dead token is presented again on some instance, after it was presented on all at once. */
const laterMs = [5, 30, 120, 400, 1_000, 1_800, 3_000, 4_500]
const repeatForMs = 15_000

type Answer = Reply & { excused: boolean }

/** Clients of all three instances that read, log in, revoke, and present dead tokens. */
export type Load = ReturnType<typeof createLoad>

export function createLoad (testbed: Testbed, oracle: Oracle) {
  const pool: User[] = []
  const dying = new Set<Token>()
  const timers = new Set<NodeJS.Timeout>()
  const underWay = new Set<Promise<unknown>>()
  let stopped = false
  let revoking = false

  function track<T> (work: Promise<T>): Promise<T> {
    underWay.add(work)
    const forget = () => { underWay.delete(work) }
    work.then(forget, forget)
    return work
  }

  async function read (token: Token, api: Api): Promise<Answer> {
    const reply = await api.ask({ method: 'GET', path: '/v1/me', token: token.plain })
    oracle.judgeRead(token, api, reply)
    return reply
  }

  /** Presents the token on every instance at once, frozen ones too, and again later, so that an instance that still accepts it is found. */
  function hammer (token: Token): void {
    for (const api of testbed.members) if (api.state !== 'down') void track(read(token, api))
    later(api => read(token, api), testbed.anyReader)
  }

  /** Runs `work` with a random instance several times within the next seconds. */
  function later (work: (api: Api) => Promise<unknown>, choose: () => Api | null = testbed.anyUp): void {
    for (const ms of laterMs) {
      const timer = setTimeout(() => {
        timers.delete(timer)
        const api = choose()
        if (api !== null) void track(work(api))
      }, ms)
      timers.add(timer)
    }
  }

  /** Repeats `plan` until it is answered 2xx or can't be repeated; `first` is the first instance asked. True if its tokens are dead. */
  async function revoke (user: User, plan: Plan, first: Api | null = null): Promise<boolean> {
    for (const token of plan.ends) {
      token.sentAt ??= performance.now()
      dying.add(token)
    }
    user.tokens = user.tokens.filter(token => !plan.ends.includes(token))
    try {
      return await attempt(user, plan, first)
    } finally {
      for (const token of plan.ends) dying.delete(token)
    }
  }

  async function attempt (user: User, plan: Plan, first: Api | null): Promise<boolean> {
    const until = performance.now() + repeatForMs
    let next = first
    for (let attempts = 1; performance.now() < until && !stopped; attempts++) {
      const api = next ?? testbed.anyUp()
      next = null
      if (api === null) {
        await delay(100)
        continue
      }
      const during = oracle.fault
      const reply = await api.ask(plan.call)
      for (const token of plan.ends) oracle.note(token, api, plan.what, reply)
      if (!oracle.judgeStatus(api, plan.what, reply, [200, 204])) break
      if (reply.status === 200 || reply.status === 204) {
        // A login that ends no session is no revocation.
        if (plan.ends.length > 0) oracle.ended(plan.ends, reply, during)
        if (plan.opens !== null) adopt(user, plan.opens, reply)
        for (const token of plan.ends) hammer(token)
        return true
      }
      if (reply.status === 401) {
        if (attempts === 1) oracle.refused(user, plan.what, api, plan.ends[0] ?? null)
        break
      }
      if (!plan.repeatable) break
      await delay(50 + Math.random() * 150)
    }
    // The outcome is unknown: tokens it may have ended or issued are not used any more.
    if (plan.ends.length > 0) oracle.unresolved()
    user.certain = false
    if (plan.opens !== null) for (const token of user.tokens) token.sentAt ??= performance.now()
    if (plan.opens !== null) user.tokens = []
    return false
  }

  function adopt (user: User, password: string, reply: Reply): void {
    const { accessToken, session } = JSON.parse(reply.body) as { accessToken: string, session: { id: string } }
    user.password = password
    user.tokens.push(createToken(accessToken, session.id, reply.startedAt))
  }

  /** A new user with one session, who isn't in the pool yet; null if that failed. */
  async function register (api: Api | null = testbed.anyUp()): Promise<User | null> {
    if (api === null) return null
    const email = `${randomBytes(8).toString('hex')}@example.com`
    const password = randomBytes(9).toString('base64url')
    const reply = await api.ask({ method: 'POST', path: '/v1/register', body: { email, password } })
    if (!oracle.judgeStatus(api, 'POST /v1/register', reply, [201]) || reply.status !== 201) return null
    const user: User = {
      id: (JSON.parse(reply.body) as { user: { id: string } }).user.id,
      email,
      password,
      tokens: [],
      busy: true,
      certain: true,
      bornAt: reply.startedAt
    }
    adopt(user, password, reply)
    return user
  }

  async function enrol (): Promise<void> {
    const user = await register()
    if (user === null) return await delay(100)
    pool.push(user)
    const sessions = 1 + Math.floor(Math.random() * sessionLimit)
    for (let i = 1; i < sessions && user.certain; i++) await revoke(user, logIn(user))
    release(user)
  }

  /** Reserves a user whose tokens have all been cached, or null; the caller clears `busy`. */
  function takeUser (fits: (user: User) => boolean = () => true): User | null {
    for (const user of [...pool]) if (!user.busy && oracle.mayBeLost(user)) release(user)
    for (let tries = 0; tries < 40; tries++) {
      const user = pool[Math.floor(Math.random() * pool.length)]
      if (user === undefined || user.busy || user.tokens.length === 0 || !user.tokens.every(token => token.hit) || !fits(user)) continue
      user.busy = true
      return user
    }
    return null
  }

  function release (user: User): void {
    user.busy = false
    if (user.tokens.length > 0 && !oracle.mayBeLost(user)) return
    const at = pool.indexOf(user)
    if (at >= 0) pool.splice(at, 1)
  }

  async function reader (): Promise<void> {
    while (!stopped) {
      const api = testbed.anyReader()
      const token = Math.random() < 0.3 && dying.size > 0 ? [...dying][Math.floor(Math.random() * dying.size)] : anyLive()
      if (api !== null && token !== undefined) await read(token, api)
      await delay(6 + Math.random() * 8)
    }
  }

  function anyLive (): Token | undefined {
    const user = pool[Math.floor(Math.random() * pool.length)]
    return user?.tokens[Math.floor(Math.random() * user.tokens.length)]
  }

  async function revoker (): Promise<void> {
    while (!stopped) {
      await delay(80 + Math.random() * 240)
      const user = revoking ? takeUser() : null
      if (user === null) continue
      await revoke(user, anyWay(user))
      release(user)
    }
  }

  async function registrar (): Promise<void> {
    while (!stopped) {
      if (pool.length < users) await enrol()
      else {
        const user = takeUser(({ certain, tokens }) => certain && tokens.length < sessionLimit)
        if (user !== null) {
          await revoke(user, logIn(user))
          release(user)
        }
        await delay(50)
      }
    }
  }

  const families = createFamilies({
    testbed,
    oracle,
    load: { read, revoke, hammer, track, dying, later, get stopped () { return stopped }, get revoking () { return revoking } }
  })

  const repeat = (times: number, work: () => Promise<void>) => { for (let i = 0; i < times; i++) void track(work()) }

  return {
    revoke,
    register,
    takeUser,
    release,
    read,
    hammer,
    track,

    start (): void {
      repeat(registrars, registrar)
      repeat(readers, reader)
      repeat(revokers, revoker)
      repeat(families.actors, families.act)
    },

    /** Turns ending sessions on or off; reading and logging in always continue. */
    revoking (on: boolean): void { revoking = on },

    /** Resolves once no revocation is in progress. */
    async settled (): Promise<void> {
      while (dying.size > 0) await delay(20)
    },

    /** Resolves once most live tokens have been answered from the cache; false when that takes longer than `withinMs`. */
    async warm (withinMs: number): Promise<boolean> {
      const until = performance.now() + withinMs
      while (performance.now() < until) {
        if (pool.filter(
          user => !user.busy && user.tokens.length > 0 && user.tokens.every(token => token.hit
        )).length >= users * 0.7) return true
        await delay(50)
      }
      return false
    },

    /** Stops the load: waits for requests in progress, and at most `ms` for later attempts with dead tokens. */
    async stop (ms: number): Promise<void> {
      revoking = false
      const until = performance.now() + ms
      while (timers.size > 0 && performance.now() < until) await delay(50)
      stopped = true
      for (const timer of timers) clearTimeout(timer)
      await Promise.race([Promise.allSettled([...underWay]), delay(20_000, undefined, { ref: false })])
    }
  }
}
