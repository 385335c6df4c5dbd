import { setTimeout as pause } from 'node:timers/promises'
import { type Config, ConfigError } from '../config/config.js'
import { createCounters } from '../counters.js'
import type { Database } from '../database/database.js'
import { openAsIs } from '../database/open.js'
import { createOwesFactor } from '../factors/policy.js'
import { createKeys } from '../keys/store.js'
import { type OpenRedis, openRedis } from '../redis/open.js'
import { createObserver } from '../revocation/index.js'
import { createSessionDataReading } from '../session-data/index.js'
import { systemClock } from '../shared/clock.js'
import { noBackend } from '../token-cache/backend.js'
import { createCacheCounters } from '../token-cache/counters.js'
import { createTokenReading, idleSecondsOf } from '../tokens/index.js'
import { unavailable } from './unavailable.js'
import type { Principal, Source } from './verifier.js'

/** As pino's methods: fields, then a text. */
export interface VerifierLog {
  info (fields: object, text: string): void
  warn (fields: object, text: string): void
}

const firstPauseMs = 250
const longestPauseMs = 5_000

/** An open verifier: the read path of an instance. */
interface Opened {
  find: Source<Principal>['find']
  sessionData: Source<Principal>['sessionData']
  stats: Source<Principal>['stats']
  close (): Promise<void>
}

/**
 * Reads PostgreSQL and Redis itself, by the server's own code and under its rules: one more instance that reads. It registers, settles,
 * bumps and migrates nothing, and writes last uses alone.
 */
export function createDirect (config: Config, log: VerifierLog): Source<Principal> {
  if (config.databaseUrl === undefined) throw new ConfigError('A verifier needs databaseUrl, or url and token')
  let opened: Opened | null = null
  let problem: unknown = null
  let closed = false
  const closing = new AbortController()
  let attempt = open()
  void keepTrying()

  function open (): Promise<void> {
    const trying = openVerifier(config, log).then(async found => {
      if (closed) return await found.close()
      opened = found
    })
    trying.catch(error => { problem = error })
    return trying
  }

  /** A database or Redis that is not there yet, or of another version, may be there later. */
  async function keepTrying (): Promise<void> {
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
      if (await attempt.then(() => true, () => false) || closed) return
      await pause(pauseMs, undefined, { signal: closing.signal, ref: false }).catch(() => {})
      if (closed) return
      attempt = open()
    }
  }

  async function requireOpened (): Promise<Opened> {
    if (closed) throw unavailable('CLOSED')
    if (opened === null) await attempt.catch(error => { throw unavailable('NOT_OPEN', 1, error) })
    if (opened === null) throw unavailable('CLOSED')
    return opened
  }

  return {
    find: token => opened === null || closed ? requireOpened().then(({ find }) => find(token)) : opened.find(token),
    sessionData: async token => (await requireOpened()).sessionData(token),
    async ready () {
      if (opened === null) await attempt
    },
    stats: () => opened?.stats() ?? { verified: 0, hits: 0, asked: 0, cache: problem === null ? 'starting' : 'database-unreachable' },
    async close () {
      closed = true
      closing.abort()
      await attempt.catch(() => {})
      await opened?.close()
    }
  }
}

async function openVerifier (config: Config, log: VerifierLog): Promise<Opened> {
  const redis = config.redis === undefined ? null : openRedis(config.redis, { keyPrefix: config.redisKeyPrefix, log })
  let database: Database | null = null
  try {
    const [found] = await Promise.all([openAsIs(config, log).then(open => { database = open; return open }), redis?.check()])
    return await read(config, found, redis, log)
  } catch (error) {
    redis?.close()
    await (database as Database | null)?.close().catch(() => {})
    throw error
  }
}

async function read (config: Config, database: Database, redis: OpenRedis | null, log: VerifierLog): Promise<Opened> {
  const counters = createCounters()
  const common = { database, clock: systemClock, log, counters, config }
  const observer = await createObserver({
    ...common,
    backend: redis?.backend ?? noBackend,
    keyPrefix: config.redisKeyPrefix,
    cacheTtlSeconds: config.cacheTtlSeconds
  })
  // Counted apart, for `hits` are of the tokens that were asked about.
  const dataReader = createSessionDataReading({
    ...common, protocol: observer, counters: createCacheCounters(), idleSeconds: idleSecondsOf(config)
  })
  const { reader, lastUse } = await createTokenReading({ ...common, keys: createKeys(database), cache: observer.cache })
  await observer.epoch.poll()
  observer.epoch.start()
  lastUse.start()
  const owesFactor = createOwesFactor(config.secondFactor)
  let verified = 0

  async function find (token: string): Promise<Principal | null> {
    verified++
    const principal = await reader.authenticate(token)
    return principal === null || principal.user === null || owesFactor(principal) ? null : principal
  }

  return {
    find,
    async sessionData (token) {
      const principal = await find(token)
      const kept = principal === null || principal.session === null ? null : await dataReader.find(principal.session.id)
      return kept === null ? null : JSON.parse(kept.text) as Record<string, unknown>
    },
    stats: () => ({ verified, hits: counters.hits, asked: counters.databaseReads, cache: observer.epoch.state() }),
    async close () {
      await lastUse.stop()
      await observer.stop()
      redis?.close()
      await database.close()
    }
  }
}
