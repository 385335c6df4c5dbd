/** Who acts, what may fail, and how far: a corner of the protocol small enough to be explored whole. */
export interface Scenario {
  name: string
  /** How many API processes there are; everything below names one by its index. */
  instances: number
  /** The instance each concurrent look-up runs in. */
  readers: number[]
  /** The instance each revocation runs in; a second one names a token the first has revoked already. */
  revokers: number[]
  /** The instance each helping poll runs in. */
  helpers: number[]
  /** The instance of each poll that can be under way for a while; the others' polls take no time. */
  slowPolls: number[]
  /** H in ticks of the clock. */
  h: number
  /** Ticks after which a settlement takes trust away and may be settled by a peer. */
  settlementLimit: number
  maxGeneration: number
  maxIncarnation: number
  /** Instances that may open a new connection, to either server. */
  reconnects: number[]
  /** Whether time passes at all. */
  clock: boolean
  evictions: boolean
  /** redis2 is a replica of redis1, which may be demoted once that is promoted, the snapshot redis1 restarts from, or another master of its cluster, to which the key's slot moves. */
  second: 'none' | 'replica' | 'demotion' | 'snapshot' | 'swap' | 'slot'
  /** Commands and replies may get lost, and instances die. */
  losses: boolean
  /** What a revoker does that cannot settle through Redis by itself. */
  fallback: Array<'help' | 'bump' | 'shared bump'>
  /** The change keeps the token alive and alters what its entry says. */
  altering: boolean
  /** The first look-up's fill is that of the token's issue. */
  issuing: boolean
  /** Untrusting look-ups share database reads, trusting ones Redis reads. */
  batches: boolean
  /** A committed revocation is due 3 s + H after its commit, whether or not anybody was answered. */
  bounded: boolean
}

const quiet: Scenario = {
  name: '',
  instances: 2,
  readers: [1],
  revokers: [0],
  helpers: [],
  slowPolls: [],
  h: 2,
  settlementLimit: 1,
  maxGeneration: 1,
  maxIncarnation: 1,
  reconnects: [],
  clock: false,
  evictions: false,
  second: 'none',
  losses: false,
  fallback: [],
  altering: false,
  issuing: false,
  batches: false,
  bounded: false
}

const failover = { ...quiet, second: 'replica', clock: true, maxGeneration: 2, maxIncarnation: 2 } as const

/** The corners that the suite explores. */
export const scenarios = {
  race: { ...quiet, name: 'two look-ups race one revocation', readers: [1, 1], evictions: true, losses: true },
  issue: { ...quiet, name: 'the token is being issued', readers: [1, 1], evictions: true, losses: true, issuing: true },
  repeat: { ...quiet, name: 'the first revoker dies, a second finds nothing left to revoke', revokers: [0, 0], evictions: true, losses: true },
  batch: { ...quiet, name: 'identical look-ups share reads', batches: true, evictions: true },
  altering: { ...quiet, name: 'an entry is altered, with help', helpers: [1], evictions: true, losses: true, altering: true, fallback: ['help'] },
  bump: { ...quiet, name: 'the revoker has no Redis', slowPolls: [1], clock: true, maxGeneration: 2, fallback: ['bump'] },
  twoPolls: { ...quiet, name: 'two polls of one instance are under way', slowPolls: [1, 1], clock: true, maxGeneration: 2, fallback: ['bump'] },
  sharedBump: { ...quiet, name: 'revocations of one instance share a bump', clock: true, maxGeneration: 3, fallback: ['shared bump'] },
  death: { ...quiet, name: 'the revoker dies and nobody repeats', helpers: [1], clock: true, losses: true, maxGeneration: 2, fallback: ['bump'], bounded: true },
  restart: { ...quiet, name: 'Redis restarts from an old snapshot', second: 'snapshot', reconnects: [0, 1], clock: true, maxGeneration: 2, maxIncarnation: 2 },
  revokerMoves: { ...failover, name: 'Redis fails over, the reader stays with the old master', reconnects: [0] },
  readerMoves: { ...failover, name: 'Redis fails over, the revoker stays with the old master', reconnects: [1] },
  comeBack: { ...failover, name: 'Redis fails over and back, or the revoker bumps', reconnects: [0], maxGeneration: 3, fallback: ['bump'] },
  revokerPollsSlowly: { ...failover, name: 'Redis fails over, the revoker polls slowly', reconnects: [0], slowPolls: [0] },
  readerPollsSlowly: { ...failover, name: 'Redis fails over, the reader polls slowly', reconnects: [1], slowPolls: [1] },
  help: { ...failover, name: 'a peer settles for a revoker cut off from Redis, during a failover', instances: 3, helpers: [2], reconnects: [2], fallback: ['help'] },
  demoted: { ...failover, name: 'Redis fails over, and the old master becomes a replica under its connections', second: 'demotion' },
  slotGivenAway: { ...failover, name: 'a slot moves, the reader still routes to its old master', second: 'slot', reconnects: [0] },
  swap: { ...quiet, name: 'a server is demoted and promoted again under its connections', instances: 1, readers: [0], revokers: [0], second: 'swap', clock: true, maxGeneration: 2, maxIncarnation: 2 }
} satisfies Record<string, Scenario>

export type ScenarioName = keyof typeof scenarios

export const scenarioNames = Object.keys(scenarios) as ScenarioName[]

/** A scenario with more room: everything may be lost and evicted, anybody may reconnect; above 2 a second look-up and a finer clock too. */
export function widen (scenario: Scenario, bound: number): Scenario {
  if (bound <= 1) return scenario
  return {
    ...scenario,
    readers: bound > 2 && scenario.readers.length === 1 ? [...scenario.readers, ...scenario.readers] : scenario.readers,
    losses: true,
    evictions: true,
    h: scenario.h + bound - 2,
    maxGeneration: scenario.clock ? scenario.maxGeneration + bound - 1 : scenario.maxGeneration,
    reconnects: scenario.second === 'none' ? [] : Array.from({ length: scenario.instances }, (_, index) => index)
  }
}
