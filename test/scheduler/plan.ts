import { type Api, calm, createDeployment, type Deployment, type Latencies, type Mutant } from './deployment.js'
import { createRandom } from './scheduler.js'
import { createTally, createWatch, type Tally, type Watched } from './watch.js'

type Random = () => number

interface Scene { deployment: Deployment, random: Random, tokens: Watched[], hot: number, excuse (untilMs: number): void }
interface Action { at: number, name: string, act (): void }

const pick = <T>(random: Random, among: readonly T[]): T | undefined => among[Math.floor(random() * among.length)]
/** Mostly near `from`, rarely near `to`. */
const between = (random: Random, from: number, to: number) => from + (to - from) * random() ** 2

/** Faults around the time `hot`; each returns its timed actions. */
export const faults = {
  eviction: ({ deployment, random, tokens, hot }: Scene): Action[] => Array.from({ length: 6 }, () => ({
    at: hot + between(random, -20, 300),
    name: 'eviction',
    act: () => { for (const server of deployment.redis.servers) deployment.redis.evict(server, `token:${pick(random, tokens)?.hash}`) }
  })),
  reconnection: ({ deployment, random, hot }: Scene): Action[] => Array.from({ length: 2 }, () => ({
    at: hot + between(random, -100, 200), name: 'a connection is lost', act: () => pick(random, deployment.apis)?.link.drop()
  })),
  cut: ({ deployment, random, hot }: Scene): Action[] => {
    const lasts = between(random, 50, 4_000)
    const which = random()
    const find = () => deployment.apis[Math.floor(which * deployment.apis.length)]
    return [
      { at: hot + between(random, -200, 100), name: 'an instance is cut off from Redis', act: () => find()?.link.cut(true) },
      { at: hot + lasts, name: 'the cut is healed', act () { find()?.link.cut(false); if (random() < 0.3) find()?.link.drop() } }
    ]
  },
  cutAll: ({ deployment, random, hot }: Scene): Action[] => {
    // A network may deliver held-back bytes later, or never if the connection was reset.
    const reset = random() < 0.5
    return [
      {
        at: hot + between(random, -100, 40),
        name: 'no instance reaches Redis',
        act () { for (const { link } of deployment.apis) { link.cut(true); if (reset) link.drop() } }
      },
      {
        at: hot + between(random, 1_000, 4_500),
        name: 'Redis can be reached again',
        act () { for (const { link } of deployment.apis) link.cut(false) }
      }
    ]
  },
  freeze: ({ deployment, random, hot }: Scene): Action[] => {
    const server = deployment.redis.servers[0]
    if (server === undefined) return []
    return [
      { at: hot + between(random, -100, 60), name: 'Redis is frozen', act: () => deployment.redis.freeze(server, true) },
      { at: hot + 60 + between(random, 0, 3_000), name: 'Redis goes on', act: () => deployment.redis.freeze(server, false) }
    ]
  },
  restart: ({ deployment, random, hot }: Scene): Action[] => {
    const server = deployment.redis.servers[0]
    if (server === undefined) return []
    return [
      { at: hot - between(random, 0, 600), name: 'Redis saves a snapshot', act () { server.snapshot = new Map(server.keys) } },
      {
        at: hot + between(random, -20, 700),
        name: 'Redis restarts',
        act: () => deployment.redis.restart(server, between(random, 5, 1_500))
      }
    ]
  },
  failover: ({ deployment, random, hot }: Scene): Action[] => {
    const [master, replica] = deployment.redis.servers
    if (master === undefined || replica === undefined) return []
    const at = hot + between(random, -100, 500)
    const end = random()
    const actions: Action[] = [
      {
        at: hot - 900,
        name: 'redis2 copies redis1',
        act () { if (replica.role === 'master' && master.role === 'master' && master.alive) deployment.redis.follow(replica, master) }
      },
      { at, name: 'redis2 is promoted', act () { if (replica.role === 'slave') deployment.redis.promote(replica) } }
    ]
    if (end < 0.3) actions.push({ at: at + random() * 50, name: 'redis1 dies', act: () => deployment.redis.restart(master, 60_000) })
    else if (end < 0.6) actions.push({
      at: at + between(random, 100, 3_000),
      name: 'redis1 is demoted',
      act () { if (replica.role === 'master') { deployment.redis.follow(
        master,
        replica
      ); if (random() < 0.5) deployment.redis.hangUp(master) } }
    })
    for (let index = 0; index < 3; index++) {
      actions.push({ at: at + between(random, 0, 1_500), name: 'an instance learns of the new master', act () {
        const api = deployment.apis[index]
        if (api === undefined) return
        api.link.route = replica
        if (random() < 0.7) api.link.drop()
      } })
    }
    return actions
  },
  crash: ({ deployment, random, hot }: Scene): Action[] => [{ at: hot + between(random, 0, 250), name: 'an instance is killed', act () {
    const api = pick(random, deployment.apis)
    if (api === undefined || deployment.apis.length < 2) return
    const { route } = api.link
    deployment.crash(api)
    deployment.schedule.after(
      between(random, 20, 2_000),
      `${api.process.name} is started again`,
      () => deployment.start(`${api.process.name}'`, route, { onlyReads: api.onlyReads })
    )
  } }],
  suspension: ({ deployment, random, hot, excuse }: Scene): Action[] =>
    [{ at: hot + between(random, -300, 200), name: 'an instance is suspended', act () {
    const [api, lasts] = [pick(random, deployment.apis), between(random, 100, 6_000)]
    excuse(deployment.schedule.now() + lasts)
    if (api !== undefined) deployment.schedule.suspend(api.process, lasts, random() < 0.5)
  } }],
  unacknowledged: ({ deployment, random, hot }: Scene): Action[] => [{ at: hot - 10, name: 'the next COMMIT is not acknowledged', act () {
    const api = pick(random, deployment.apis)
    if (api !== undefined) deployment.database.unacknowledged.add(api.process)
  } }],
  databaseAway: ({ deployment, random, hot }: Scene): Action[] => {
    const api = pick(random, deployment.apis)
    if (api === undefined) return []
    return [
      {
        at: hot + between(random, -50, 200),
        name: 'an instance is cut off from PostgreSQL',
        act () { deployment.database.unreachable.add(api.process) }
      },
      {
        at: hot + between(random, 100, 3_000),
        name: 'PostgreSQL can be reached',
        act () { deployment.database.unreachable.delete(api.process) }
      }
    ]
  },
  standby: ({ deployment, random, hot }: Scene): Action[] => {
    const { database } = deployment
    const [lasts, share] = [between(random, 200, 4_000), random() < 0.5 ? 100 : 50]
    const api = pick(random, deployment.apis)
    return [
      { at: hot - between(random, 0, 1_000), name: 'the standby stops replaying', act: () => database.pauseReplay(true) },
      { at: hot - between(random, -300, 600), name: `${share}% of an instance's connections lead to the standby`, act () {
        const one = api ?? pick(random, deployment.apis)
        if (one !== undefined) database.onStandby.set(one.process, share)
      } },
      { at: hot + lasts, name: 'all connections lead to the primary', act: () => database.onStandby.clear() },
      { at: hot + lasts + random() * 500, name: 'the standby replays again', act: () => database.pauseReplay(false) }
    ]
  },
  promotion: ({ deployment, random, hot }: Scene): Action[] => [
    {
      at: hot + between(random, -50, 1_500),
      name: 'the standby is promoted',
      act: () => deployment.database.promote(random() < 0.5 ? 0 : random() * 300_000)
    }
  ],
  unsynced: ({ deployment, random, hot }: Scene): Action[] => {
    const { database } = deployment
    return [
      { at: hot - 500, name: 'commits do not wait for their flush', act () { database.defaults.waitsForFlush = false } },
      { at: hot + between(random, 0, 3_500), name: 'PostgreSQL is killed', act: () => database.crash(20 + random() * 400) },
      { at: hot + 4_000, name: 'commits wait for their flush', act () { database.defaults.waitsForFlush = true } }
    ]
  },
  full: ({ deployment, random, hot }: Scene): Action[] => deployment.redis.servers.slice(0, 1).flatMap(server => [
    { at: hot - between(random, 0, 300), name: 'Redis is full', act () { server.full = true } },
    { at: hot + between(random, 50, 1_000), name: 'Redis has memory', act () { server.full = false } }
  ])
}

export type Fault = keyof typeof faults

export const faultNames = Object.keys(faults) as Fault[]

export interface PlayOptions {
  seed: number
  mutant?: Mutant
  only?: Fault[]
  trace?: boolean, /** Actions to leave out, by their place in the plan. */
  without?: Set<number>
  tally?: Tally
}

export interface Played {
  seed: number
  faults: Fault[]
  violation: string | null
  plan: string[]
  lines: string[]
  virtualMs: number
  registrations: number
}

/** Plays one schedule: the seed decides what happens, when, and in which order gates open. */
export async function play ({
  seed,
  mutant = {},
  only,
  trace = false,
  without = new Set(),
  tally = createTally()
}: PlayOptions): Promise<Played> {
  const random = createRandom(seed * 2 + 1)
  const chosen = only ?? faultNames.filter(() => random() < 0.11)
  const latencies = latenciesOf(random)
  const deployment = createDeployment({ seed, trace, mutant, latencies, slow: random() < 0.5 ? 0 : 3 })
  const { schedule } = deployment
  const watch = createWatch(deployment, tally)
  const [route] = deployment.redis.servers
  if (route === undefined) throw new Error('the deployment has no Redis server')
  deployment.database.seed(({ epoch }) => { epoch.incarnation = deployment.incarnationOf(route) })
  const instances = random() < 0.6 ? 2 : 3
  for (let i = 1; i <= instances; i++) schedule.after(
    random() * 300,
    `api${i} is started`,
    () => deployment.start(`api${i}`),
    { wakes: true }
  )
  // Drawn apart, so that the other schedules stay as they are.
  const verifies = createRandom(-seed)() < 0.4
  if (verifies) schedule.after(100, 'a verifier is started', () => deployment.start('verifier', route, { onlyReads: true }), { wakes: true })
  const tokens: Watched[] = Array.from(
    { length: 3 },
    (_, i) => ({ ...deployment.seedToken(`00000000-0000-4000-8000-00000000000${i >> 1}`, crypto.randomUUID()), ended: false })
  )
  const slackMs = 1_000 +
    latencies.database * 60 +
    (chosen.some(fault => ['databaseAway', 'standby', 'promotion', 'unsynced'].includes(fault)) ? 4_000 : 0)

  const someone = () => pick(random, deployment.apis)
  const revoker = () => pick(random, deployment.apis.filter(({ onlyReads }) => !onlyReads))
  const read = (
    api: Api | undefined,
    token: Watched | undefined
  ) => { if (api !== undefined && token !== undefined) void watch.read(api, token) }

  async function revoke (api: Api | undefined, token: Watched, repeats: number): Promise<void> {
    if (api === undefined) return
    if (repeats > 0) {
      const again = { after: between(random, 0, 800), chance: random() }
      const repeat = () => { if (!token.ended && again.chance < 0.7) void revoke(revoker(), token, repeats - 1) }
      // Clients repeat after a lost connection as after a 503, and don't always wait for either.
      schedule.after(again.after + 40, 'the client repeats the revocation', repeat, { wakes: true })
    }
    const told = await (random() < 0.3 ? watch.revokeByToken : watch.revoke)(api, token, slackMs)
    if (!told) return
    for (const reader of [...deployment.apis]) {
      for (const after of [
        0,
        2,
        30 + random() * 200,
        500 + random() * 900,
        1_500
      ]) schedule.after(after, 'probe', () => read(reader, token), { wakes: true, process: reader.process })
    }
  }

  const actions: Action[] = []
  const moments = [1_900 + random() * 600, ...random() < 0.3 ? [4_200 + random() * 600] : []]
  moments.forEach((hot, i) => {
    const scene: Scene = { deployment, random, tokens, hot, excuse: watch.excuse }
    const victim = tokens[i]
    if (victim === undefined) return
    for (let n = 0; n < 5; n++) actions.push({ at: hot - random() * 500, name: 'read', act: () => read(someone(), victim) })
    for (let n = 0; n < 6; n++) actions.push({
      at: hot + between(random, -30, 300),
      name: 'read',
      act: () => read(someone(), pick(random, tokens))
    })
    actions.push({ at: hot, name: 'revoke', act: () => { void revoke(revoker(), victim, 2) } })
    const other = random()
    if (other < 0.2) actions.push({
      at: hot + between(random, -20, 100),
      name: 'revoke another',
      act: () => { void revoke(revoker(), tokens[(i + 1) % tokens.length] as Watched, 0) }
    })
    else if (other < 0.4) actions.push({
      at: hot + between(random, -20, 100),
      name: 'rename',
      act: () => { const api = revoker(); if (api !== undefined) void watch.rename(api, victim.userId, slackMs) }
    })
    else if (other < 0.6) actions.push({ at: hot + between(random, -60, 60), name: 'issue', act: () => { void issue(victim.userId) } })
    for (const fault of chosen) actions.push(...faults[fault](scene))
  })

  async function issue (userId: string): Promise<void> {
    const api = revoker()
    const token = api === undefined ? null : await watch.issue(api, userId)
    if (token === null) return
    tokens.push(token)
    read(someone(), token)
    schedule.after(between(random, 0, 30), 'the issued token is revoked', () => { void revoke(revoker(), token, 1) }, { wakes: true })
  }

  actions.sort((a, b) => a.at - b.at)
  actions.forEach(({ at, name, act }, place) => { if (!without.has(place)) schedule.after(at, `* ${name}`, act, { wakes: true }) })
  const lastAt = Math.max(...moments)
  const ends = lastAt + 1_700 + (chosen.includes('crash') || chosen.includes('unacknowledged') ? 4_500 : 0)
  for (let at = lastAt + 300; at < ends +
    4_000; at += 100 + random() * 400) schedule.after(at, 'background read', () => read(someone(), pick(random, tokens)), { wakes: true })

  await schedule.run(() => watch.violations.length > 0 || (schedule.now() > ends && watch.underWay() === 0), ends + 12_000)
  tally.hits += deployment.apis.reduce((sum, { counters }) => sum + counters.hits, 0)
  return {
    seed, faults: chosen, violation: watch.violations[0] ?? null, lines: schedule.lines, virtualMs: schedule.now(),
    plan: actions.map(({ at, name }, place) => `${place}: ${at.toFixed(0)} ms ${name}`), registrations: deployment.apis.reduce(
      (sum, { counters }) => sum + counters.registrations,
      0
    )
  }
}

function latenciesOf (random: Random): Latencies {
  const scale = (among: number[]) => (pick(random, among) ?? 1) * (0.5 + random())
  return {
    ...calm,
    redis: scale([0.5, 3, 10, 40]),
    replication: scale([1, 50, 500]),
    dial: scale([30, 200]),
    database: scale([0.5, 3, 10]),
    find: scale([1, 10, 100, 500]),
    replay: scale([1, 50, 500])
  }
}
