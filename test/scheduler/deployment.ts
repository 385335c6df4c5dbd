import { type Counters, createCounters } from '../../src/counters.js'
import type { Transactions } from '../../src/database/transaction.js'
import { type CacheEpoch, createEpoch } from '../../src/revocation/epoch.js'
import { createRevocation, type Revocation } from '../../src/revocation/revocation.js'
import { createSettle, type Settle } from '../../src/revocation/settle.js'
import type { EpochStore } from '../../src/revocation/store.js'
import type { Clock } from '../../src/shared/clock.js'
import type { CacheBackend } from '../../src/token-cache/backend.js'
import { createTokenCache, type TokenCache } from '../../src/token-cache/cache.js'
import { inNamespace } from '../../src/token-cache/namespace.js'
import { createTokenService, type TokenService } from '../../src/tokens/service.js'
import type { TokenStore } from '../../src/tokens/store.js'
import { TokenMint } from '../../src/tokens/token.js'
import { createSimulatedPostgres, type DatabaseRules, type SimulatedPostgres, wallStart } from './postgres.js'
import { createSimulatedRedis, type RedisServer, type SimulatedLink } from './redis.js'
import { createSchedule, type Process } from './scheduler.js'

export const cacheTtlSeconds = 60

/** One instance of the service: the real code on simulated parts. */
export interface Api {
  process: Process
  /** True of a verifier. */
  onlyReads: boolean
  clock: Clock
  link: SimulatedLink
  transactions: Transactions
  counters: Counters
  epoch: CacheEpoch
  cache: TokenCache
  settle: Settle
  revocation: Revocation
  tokens: TokenService
  tokenStore: TokenStore
}

/** Removes a rule from the real code by wrapping its dependencies. `api` is complete once anything runs. */
export interface Mutant {
  database?: Partial<DatabaseRules>
  namespace? (real: CacheBackend, api: Api): CacheBackend
  epochClock? (real: Clock, api: Api): Clock
  link? (real: SimulatedLink, api: Api): CacheBackend
  epochStore? (real: EpochStore, api: Api, deployment: Deployment): EpochStore
  epoch? (real: CacheEpoch, api: Api): CacheEpoch
  cache? (real: TokenCache, api: Api): TokenCache
  settle? (real: Settle, api: Api): Settle
  tokenStore? (real: TokenStore, api: Api, deployment: Deployment): TokenStore
  transactions? (real: Transactions, api: Api): Transactions
}

export interface Latencies { redis: number, replication: number, dial: number, database: number, find: number, replay: number }

/** No step takes longer than a millisecond. */
export const calm: Latencies = { redis: 1, replication: 1, dial: 1, database: 1, find: 1, replay: 1 }

export interface DeploymentOptions {
  seed?: number
  trace?: boolean
  mutant?: Mutant
  latencies?: Latencies, /** Per cent of the steps that take up to twenty times as long. */
  slow?: number
  servers?: string[]
}

export type Deployment = ReturnType<typeof createDeployment>

/** A database, Redis servers and instances of the service, in virtual time. */
export function createDeployment ({
  seed = 1,
  trace = false,
  mutant = {},
  latencies = calm,
  slow = 0,
  servers = ['redis1', 'redis2']
}: DeploymentOptions = {}) {
  const schedule = createSchedule(seed, { trace })
  const { random } = schedule
  const latency = (kind: keyof Latencies) => latencies[kind] * random() * (slow > 0 && random() * 100 < slow ? 20 : 1)
  const redis = createSimulatedRedis(schedule, latency, servers)
  const mainDatabase = createSimulatedPostgres(schedule, latency, { rules: mutant.database ?? {} })
  const mint = new TokenMint(Buffer.from('the key of a simulated deployment'))
  const apis: Api[] = []
  /** The main database's keys have no part for it, so that schedules can name them. */
  const keyPartOf = ({ identity, rules }: SimulatedPostgres) =>
    identity === mainDatabase.identity || !rules.databaseBelongsToKey ? '' : `${identity}:`

  /** `onlyReads`: as a verifier does. */
  function start (
    name: string,
    route = redis.servers[0],
    { prefix = '', database = mainDatabase, onlyReads = false }: { prefix?: string, database?: SimulatedPostgres, onlyReads?: boolean } = {}
  ): Api {
    if (route === undefined) throw new Error('the deployment has no Redis server')
    const process: Process = { name, alive: true, suspended: false, stood: 0, parked: [] }
    const behind = random() * 1e6
    const clock: Clock = {
      now: () => wallStart + schedule.now(),
      monotonic: () => behind + schedule.now() - process.stood,
      sleep: ms =>
        new Promise(resolve => { schedule.after(ms, `${name} slept ${Math.round(ms)} ms`, resolve, { process, timer: true, wakes: true }) })
    }
    const api = { process, onlyReads, clock, counters: createCounters() } as Api
    const { counters } = api
    api.link = redis.link(process, route)
    const named = inNamespace(mutant.link?.(api.link, api) ?? api.link, { prefix: `${prefix}${keyPartOf(database)}` })
    const link = mutant.namespace?.(named, api) ?? named
    const store = mutant.epochStore?.(database.epochStore(process), api, deployment) ?? database.epochStore(process)
    const tokenStore = mutant.tokenStore?.(database.tokenStore(process), api, deployment) ?? database.tokenStore(process)
    const transactions = mutant.transactions?.(database.transactions(process), api) ?? database.transactions(process)
    Object.assign(api, { transactions, tokenStore })
    const log = {
      info: (_: object, text: string) => schedule.note(`${name}: ${text}`),
      warn: (fields: object, text: string) => schedule.note(`${name}: ${text} ${JSON.stringify(fields)}`)
    }
    api.epoch = createEpoch({
      store,
      registry: onlyReads ? null : store,
      backend: link,
      namespace: { adopt: () => true },
      clock: mutant.epochClock?.(clock, api) ?? clock,
      counters,
      log,
      onSettlementsWaiting: () => { if (!onlyReads) void api.settle.assist() }
    })
    api.epoch = mutant.epoch?.(api.epoch, api) ?? api.epoch
    const { epoch } = api
    api.cache = createTokenCache({ backend: link, epoch, clock, counters, log, cacheTtlSeconds })
    api.cache = mutant.cache?.(api.cache, api) ?? api.cache
    const { cache } = api
    api.settle = createSettle({ store, cache, backend: link, epoch, clock, counters })
    api.settle = mutant.settle?.(api.settle, api) ?? api.settle
    api.revocation = createRevocation({ transactions, store, settle: api.settle, log })
    api.tokens = createTokenService({ mint, lastUse: { note () {} }, cache, store: tokenStore, clock, counters, cacheTtlSeconds, idleSeconds: null })
    apis.push(api)
    epoch.start()
    return api
  }

  const deployment = {
    schedule,
    redis,
    database: mainDatabase,
    apis,
    mint,
    start,

    /** A server's incarnation as instances without a prefix see it. */
    incarnationOf: (server: RedisServer): string => `${redis.identify(server)}:`,

    /** kill -9: commands it has sent may still be executed, nothing else is. */
    crash (api: Api): void {
      schedule.note(`${api.process.name} is killed`)
      api.process.alive = false
      apis.splice(apis.indexOf(api), 1)
      api.link.drop()
      schedule.after(random() * 50, `the database notices that ${api.process.name} is gone`, () => mainDatabase.abort(api.process))
    },

    /** A token that is in the database from the start. */
    seedToken (userId: string, sessionId: string) {
      const plain = mint.issue('access')
      const hash = plain.hash().hex()
      const row = { id: crypto.randomUUID(), hash, userId, sessionId, expiresAt: wallStart + 3_600_000, revokedAt: null, committedAt: null }
      mainDatabase.seed(({ tokens }) => { tokens.set(hash, { ...row }) })
      return { plain: plain.reveal(), hash, userId, sessionId }
    }
  }
  return deployment
}
