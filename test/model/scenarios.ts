/** Who acts, what may fail, and within which limits: a part of the protocol small enough to explore exhaustively. */
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
  /** Instances that only read, as verifiers do: they register no server and forget none. */
  verifiers: number[]
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
  /** SET and EVAL leave an event-loop turn after the reply that asked for them, on the connection that is there then. */
  lateWrites: boolean
  /** Whether time passes at all. */
  clock: boolean
  evictions: boolean
  /**
   * redis2 is a replica of redis1, which may be demoted once that is promoted; the snapshot that redis1 restarts from; another master of
   * its cluster, to which the key's slot moves; or the same server again, with the second instance's key under another prefix or name.
   */
  second: 'none' | 'replica' | 'demotion' | 'snapshot' | 'swap' | 'slot' | 'prefix' | 'key'
  /** Beside the primary there is a standby that lags, a crash that undoes what was not flushed, or a copy that the second instance uses. */
  database: 'one' | 'standby' | 'crash' | 'copy'
  /** Somebody may find that the registered server has not been confirmed for long. */
  forgets: boolean
  /** The database's clock is set back once. */
  clockStepsBack: boolean
  /** The revoking transaction begins while the token's issue still holds the user's row. */
  isolation: boolean
  /** A pooler may give a look-up the answer to another one. */
  mixedUpAnswers: boolean
  /** The token's key is not the last of its look-ups, so it is read by MGET, with a GETEX of another key behind it. */
  mget: boolean
  /** How many hashes the revocation names: one, so many that they are written in two pipelines, or too many to name. */
  size: 'one' | 'pieces' | 'many'
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
  verifiers: [],
  slowPolls: [],
  h: 2,
  settlementLimit: 1,
  maxGeneration: 1,
  maxIncarnation: 1,
  reconnects: [],
  lateWrites: false,
  clock: false,
  evictions: false,
  second: 'none',
  database: 'one',
  forgets: false,
  clockStepsBack: false,
  isolation: false,
  mixedUpAnswers: false,
  mget: false,
  size: 'one',
  losses: false,
  fallback: [],
  altering: false,
  issuing: false,
  batches: false,
  bounded: false
}

const failover = { ...quiet, second: 'replica', clock: true, maxGeneration: 2, maxIncarnation: 2 } as const

/** The scenarios that the suite explores. */
export const scenarios = {
  race: { ...quiet, name: 'two look-ups race one revocation', readers: [1, 1], evictions: true, losses: true },
  issue: { ...quiet, name: 'the token is being issued', readers: [1, 1], evictions: true, losses: true, issuing: true },
  repeat: {
    ...quiet, name: 'the first revoker dies, a second finds nothing left to revoke',
    revokers: [0, 0], evictions: true, losses: true
  },
  batch: { ...quiet, name: 'identical look-ups share reads', batches: true, evictions: true },
  altering: {
    ...quiet, name: 'an entry is altered, with help',
    helpers: [1], evictions: true, losses: true, altering: true, fallback: ['help']
  },
  bump: { ...quiet, name: 'the revoker has no Redis', slowPolls: [1], clock: true, maxGeneration: 2, fallback: ['bump'] },
  twoPolls: {
    ...quiet, name: 'two polls of one instance are under way',
    slowPolls: [1, 1], clock: true, maxGeneration: 2, fallback: ['bump']
  },
  sharedBump: { ...quiet, name: 'revocations of one instance share a bump', clock: true, maxGeneration: 3, fallback: ['shared bump'] },
  death: {
    ...quiet, name: 'the revoker dies and nobody repeats',
    helpers: [1], clock: true, losses: true, maxGeneration: 2, fallback: ['bump'], bounded: true
  },
  restart: {
    ...quiet, name: 'Redis restarts from an old snapshot',
    second: 'snapshot', reconnects: [0, 1], lateWrites: true, clock: true, maxGeneration: 2, maxIncarnation: 2
  },
  revokerMoves: { ...failover, name: 'Redis fails over, the reader stays with the old master', reconnects: [0] },
  readerMoves: { ...failover, name: 'Redis fails over, the revoker stays with the old master', reconnects: [1], lateWrites: true },
  comeBack: { ...failover, name: 'Redis fails over and back, or the revoker bumps', reconnects: [0], maxGeneration: 3, fallback: ['bump'] },
  revokerPollsSlowly: { ...failover, name: 'Redis fails over, the revoker polls slowly', reconnects: [0], slowPolls: [0] },
  readerPollsSlowly: { ...failover, name: 'Redis fails over, the reader polls slowly', reconnects: [1], slowPolls: [1] },
  help: {
    ...failover, name: 'a peer settles for a revoker cut off from Redis, during a failover',
    instances: 3, helpers: [2], reconnects: [2], fallback: ['help']
  },
  demoted: { ...failover, name: 'Redis fails over, and the old master becomes a replica under its connections', second: 'demotion' },
  slotGivenAway: { ...failover, name: 'a slot moves, the reader still routes to its old master', second: 'slot', reconnects: [0] },
  demotedInBatch: { ...failover, name: 'the same, and look-ups travel in a batch', second: 'demotion', mget: true },
  prefix: {
    ...quiet, name: 'two instances use different key prefixes',
    second: 'prefix', clock: true, maxGeneration: 2, maxIncarnation: 2
  },
  copy: {
    ...quiet, name: 'a copy of the database is used beside it',
    second: 'key', database: 'copy', readers: [0, 1], issuing: true, evictions: true
  },
  forgotten: { ...quiet, name: 'the registered server is forgotten', clock: true, forgets: true, maxGeneration: 3 },
  pieces: { ...failover, name: 'a large settlement is written in two pipelines, during a failover', size: 'pieces', reconnects: [0] },
  many: {
    ...quiet, name: 'so many tokens end that none is named',
    size: 'many', clock: true, losses: true, maxGeneration: 2, bounded: true
  },
  clockBack: {
    ...quiet, name: 'the clock of the database is set back',
    helpers: [1], clock: true, clockStepsBack: true, losses: true, bounded: true
  },
  clockBackBump: {
    ...quiet, name: 'the clock of the database is set back before a bump',
    clock: true, clockStepsBack: true, maxGeneration: 2, fallback: ['bump']
  },
  standby: { ...quiet, name: 'a standby that lags answers too', database: 'standby', helpers: [1], evictions: true, fallback: ['help'] },
  standbyIssues: {
    ...quiet, name: 'the token is being issued, and a standby answers too',
    database: 'standby', readers: [1, 1], issuing: true
  },
  standbyPoll: { ...quiet, name: 'polls reach a standby too', database: 'standby', clock: true, maxGeneration: 2, fallback: ['bump'] },
  promotion: {
    ...quiet, name: 'the standby is promoted and the request repeated',
    database: 'standby', revokers: [0, 0], evictions: true, losses: true
  },
  crash: {
    ...quiet, name: 'the database crashes without what was not flushed',
    database: 'crash', clock: true, maxGeneration: 2, fallback: ['bump']
  },
  crashAfterFailover: { ...failover, name: 'Redis fails over, and the database crashes', database: 'crash', reconnects: [0] },
  isolation: {
    ...quiet, name: 'the token is issued while a transaction that ends all of the user\'s waits',
    isolation: true, issuing: true
  },
  mixedUp: { ...quiet, name: 'answers of the database are mixed up', mixedUpAnswers: true, evictions: true },
  verifier: { ...failover, name: 'Redis fails over, and a verifier reads', verifiers: [1], reconnects: [0, 1] },
  swap: {
    ...quiet, name: 'a server is demoted and promoted again under its connections',
    instances: 1, readers: [0], revokers: [0], second: 'swap', clock: true, maxGeneration: 2, maxIncarnation: 2
  }
} satisfies Record<string, Scenario>

export type ScenarioName = keyof typeof scenarios

export const scenarioNames = Object.keys(scenarios) as ScenarioName[]

/** A scenario with wider limits: anything may be lost or evicted, any instance may reconnect; above 2 a second look-up, a finer clock. */
export function widen (scenario: Scenario, bound: number): Scenario {
  if (bound <= 1) return scenario
  return {
    ...scenario,
    readers: bound > 2 && scenario.readers.length === 1 ? [...scenario.readers, ...scenario.readers] : scenario.readers,
    losses: true,
    evictions: true,
    h: scenario.h + bound - 2,
    maxGeneration: scenario.clock ? scenario.maxGeneration + bound - 1 : scenario.maxGeneration,
    reconnects: ['none', 'prefix', 'key'].includes(scenario.second) ? [] : Array.from({ length: scenario.instances }, (_, index) => index)
  }
}
