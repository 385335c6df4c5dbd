import { AsyncLocalStorage } from 'node:async_hooks'
import type { AddressInfo } from 'node:net'
import { buildApp, type Latchkey } from '../../src/app.js'
import { loadConfig } from '../../src/config/config.js'
import type { Database } from '../../src/database/database.js'
import type { Tx } from '../../src/database/transaction.js'
import { openFoundation } from '../../src/foundation.js'
import { createLogger } from '../../src/observability/logger.js'
import type { CacheBackend } from '../../src/token-cache/backend.js'
import { isMutant, mutate } from './mutants.js'
import { type Death, watchStatements } from './points.js'

/** One API process of the fault run: like server.ts, with a reply header that says where the answer came from, and kill points. */

interface Underway { path: string, hit: boolean, death: Death | null }

const requests = new AsyncLocalStorage<Underway>()
let latchkey: Latchkey | null = null

/** Called at each await of a request: kills the process if this is the point it was told to die at. */
function reach (point: string): void {
  const death = requests.getStore()?.death
  if (death === undefined || death === null || (death.point !== null && death.point !== point)) return
  death.nth--
  if (death.nth <= 0) process.kill(process.pid, 'SIGKILL')
}

async function passing<T> (name: string, work: () => Promise<T>): Promise<T> {
  reach(`before ${name}`)
  const result = await work()
  reach(`after ${name}`)
  return result
}

function watchDatabase (real: Database): Database {
  return {
    ...real,
    prepared: (text, parameters) => passing('statement', () => real.prepared(text, parameters)),
    transaction: <T>(work: (tx: Tx) => Promise<T>) => passing('transaction', () => real.transaction(async tx => {
      const doomed = requests.getStore()?.death
      return await passing('work', () => work(doomed === undefined || doomed === null ? tx : watchStatements(tx, reach)))
    }))
  }
}

function watchBackend (real: CacheBackend): CacheBackend {
  return {
    get connection () { return real.connection },
    takeLease: (key, lease, ttlMs) => passing('lease', () => real.takeLease(key, lease, ttlMs)),
    async get (key) {
      const there = await passing('look-up', () => real.get(key))
      const request = requests.getStore()
      if (request !== undefined && there !== null) request.hit = there.startsWith(`V${latchkey?.epoch.trust()?.generation}|`)
      return there
    },
    compareAndSet: real.compareAndSet,
    overwrite: (keys, ttlMs) => passing('overwriting', () => real.overwrite(keys, ttlMs)),
    identify: real.identify,
    close: real.close
  }
}

async function main (): Promise<void> {
  const config = loadConfig()
  const logger = createLogger(config.logLevel)
  const { database, redis, close } = await openFoundation(config, logger)
  if (redis === null) throw new Error('the fault run needs REDIS_URL')
  const name = process.env.FAULTS_MUTANT
  const mutant = name !== undefined && isMutant(name)
    ? mutate(name, redis.limiter, () => latchkey?.epoch.trust()?.generation ?? 0, () => requests.getStore()?.path ?? '')
    : {}
  latchkey = await buildApp(config, {
    mailer: null,
    database: watchDatabase(database),
    redis,
    logger,
    backend: real => watchBackend(mutant.backend?.(real) ?? real),
    settle: real => mutant.settle?.(real) ?? real
  })
  const { app } = latchkey

  app.server.prependListener('request', (request, response) => {
    const { 'x-dies': death } = request.headers
    const underway: Underway = {
      path: request.url ?? '',
      hit: false,
      death: death === undefined ? null : JSON.parse(String(death)) as Death
    }
    const writeHead = response.writeHead.bind(response) as (...parts: unknown[]) => typeof response
    response.writeHead = ((...parts: unknown[]) => {
      // After the answer the client may assume that the process lives.
      underway.death = null
      response.setHeader('x-answered-from', underway.hit ? 'cache' : 'database')
      return writeHead(...parts)
    }) as typeof response.writeHead
    requests.enterWith(underway)
  })
  process.on('disconnect', () => process.exit(1))
  process.on('SIGTERM', () => {
    app.close().then(close).then(() => process.exit(0), () => process.exit(1))
  })

  await app.listen({ host: config.host, port: config.port })
  process.send?.({ port: (app.server.address() as AddressInfo).port })
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
  process.exit(1)
})
