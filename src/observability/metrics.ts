import { createServer, type Server } from 'node:http'
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { Counters } from '../counters.js'
import type { Database } from '../database/database.js'
import type { OutboxStore } from '../mail/outbox-store.js'
import { isSafeMethod } from '../shared/safe-method.js'
import { withTimeout } from '../shared/timeout.js'
import type { Passwords } from '../users/password.js'
import type { Durations } from './durations.js'
import { DurationsHistogram } from './metrics-histogram.js'
import { type RouteTraffic, statusesOf } from './traffic.js'

/** How long a scrape waits for the database. */
const patienceMs = 1_000

interface MetricsPorts {
  counters: Counters
  trusted (): boolean
  passwords: Pick<Passwords, 'waiting' | 'work'>
  /** Milliseconds of a statement, or null when the database can't answer. */
  roundTrip (): Promise<number | null>
  load: Database['load']
  outbox: Pick<OutboxStore, 'waiting'>
}

/**
 * The metrics of this process for Prometheus; docs/METRICS.md explains each. No label names a user, a token or an address. A scrape
 * sends the database two statements: one to see whether it answers, one for the outbox.
 */
export function createMetrics (ports: MetricsPorts): Registry {
  const { counters, trusted, passwords, roundTrip, load, outbox } = ports
  const registry = new Registry()
  const registers = [registry]

  function total (name: string, help: string, read: () => number): void {
    new Counter({ name: `latchkey_${name}_total`, help, registers, collect () { this.reset(); this.inc(read()) } })
  }
  function totals (name: string, help: string, label: string, read: () => Record<string, number>): void {
    new Counter({
      name: `latchkey_${name}_total`,
      help,
      labelNames: [label],
      registers,
      collect () {
        this.reset()
        for (const [value, count] of Object.entries(read())) this.inc({ [label]: value }, count)
      }
    })
  }
  function gauge (name: string, help: string, read: () => number): void {
    new Gauge({ name: `latchkey_${name}`, help, registers, collect () { this.set(read()) } })
  }
  /** A gauge that is read asynchronously; NaN when that fails. */
  function asked (name: string, help: string, read: () => Promise<number>): void {
    new Gauge({ name: `latchkey_${name}`, help, registers, async collect () { this.set(await read().catch(() => Number.NaN)) } })
  }

  function histogram (name: string, help: string, read: () => Durations): void {
    new DurationsHistogram({ name: `latchkey_${name}`, help, registry, read: () => [{ labels: {}, durations: read() }] })
  }

  total('cache_hits', 'Look-ups answered by a cache entry', () => counters.hits)
  total('cache_refusals', 'Look-ups answered by the mark of a revoked token', () => counters.refusals)
  total('cache_misses', 'Look-ups that took a lease and read the database', () => counters.misses)
  total('cache_fills', 'Entries written under a lease', () => counters.fills)
  totals('cache_bypasses', 'Look-ups that went to the database although there is a cache, by reason', 'reason', () => counters.bypasses)
  total('cache_failures', 'Commands to the cache that failed or were not answered in time', () => counters.failures)
  gauge('cache_trusted', '1 while cache entries are believed', () => trusted() ? 1 : 0)
  total('cache_trust_losses', 'Times the cache stopped being trusted', () => counters.trustLosses)
  total('cache_registrations', 'Cache servers registered by this process', () => counters.registrations)

  total('settlements', 'Revocations made true in every cache before they were answered', () => counters.settlements)
  total('settlements_by_peers', 'Of these, settled by another instance', () => counters.settledByPeers)
  total('settlements_assisted', 'Settlements of other instances carried out here', () => counters.assists)
  total('generation_bumps', 'Times all cache entries were invalidated to settle a revocation', () => counters.bumps)
  histogram('settlement_duration_seconds', 'How long revocations waited to be settled', () => counters.settling)
  gauge('settlement_longest_seconds', 'The longest of these waits', () => counters.settleMsMax / 1000)
  totals('refreshes', 'Refresh tokens presented, by outcome; reused: presented again after the grace', 'outcome', () => counters.refreshes)

  gauge('password_queue', 'Password hashes waiting for a worker', passwords.waiting)
  total('password_refusals', 'Password hashes refused because too many waited', () => passwords.work.refused)
  histogram('password_duration_seconds', 'How long a password hash took its worker', () => passwords.work.durations)

  asked('database_up', '1 when the database answers, as /health/ready asks it', async () => await roundTrip() === null ? 0 : 1)
  total('database_reads', 'Statements that looked tokens up; one serves all look-ups of an event-loop turn', () => counters.databaseReads)
  if (load !== undefined) {
    gauge('database_connections', 'Connections to PostgreSQL for requests, DATABASE_POOL', () => load().connections)
    gauge('database_under_way', 'Statements and transactions begun and not ended, including those that wait', () => load().underWay)
    gauge('database_waiting', 'Of these, those beyond the number of connections: at least so many wait', () => {
      const { underWay, connections } = load()
      return Math.max(0, underWay - connections)
    })
    total('database_refusals', 'Statements and transactions refused because too many waited', () => load().refused)
  }

  totals('edge_hints', 'Hints for edges, by outcome; lost: that a token has ended could not be written', 'outcome', () => counters.hints)

  const { prune } = counters
  const outcomes = () => ({ done: prune.done, skipped: prune.skipped, failed: prune.failed })
  totals('prune_runs', 'Prunes by this process; skipped: another instance was pruning', 'outcome', outcomes)
  totals('prune_rows', 'Rows deleted by these prunes', 'rows', () => prune.rows)
  gauge('prune_last_done_timestamp_seconds', 'When this process last finished a prune; 0: not yet', () => prune.lastDoneAtMs / 1000)
  gauge('prune_last_duration_seconds', 'How long the last prune took', () => prune.lastMs / 1000)

  totals('mails', 'Attempts to send a mail, by outcome', 'outcome', () => counters.mails)
  let latest: ReturnType<typeof outbox.waiting> | null = null
  const look = () => latest ??= withTimeout(outbox.waiting(), patienceMs, () => {}).finally(() => { latest = null })
  asked('mail_waiting', 'Mails in the outbox that all instances share; counted up to 10000', async () => (await look()).mails)
  asked('mail_oldest_seconds', 'Age of the oldest of these, 0: none', async () => (await look()).oldestSeconds)
  return registry
}

/** Adds the metrics of requests by route. */
export function addTraffic (registry: Registry, traffic: RouteTraffic[]): void {
  const labelNames = ['method', 'route']
  const labelsOf = ({ method, route }: RouteTraffic) => ({ method, route })
  new Counter({
    name: 'latchkey_http_requests_total',
    help: 'Requests answered, by route as declared and status',
    labelNames: [...labelNames, 'status'],
    registers: [registry],
    collect () {
      this.reset()
      for (const route of traffic) for (const [status, count] of statusesOf(route)) this.inc({ ...labelsOf(route), status }, count)
    }
  })
  new DurationsHistogram({
    name: 'latchkey_http_request_duration_seconds',
    help: 'From the head of a request to the end of its reply, by route as declared',
    labelNames,
    registry,
    // Most routes have answered nothing yet: leave those out.
    read () {
      const used = traffic.filter(({ durations }) => durations.totalMs > 0)
      return used.map(route => ({ labels: labelsOf(route), durations: route.durations }))
    }
  })
}

/**
 * Serves GET and HEAD /metrics, with prom-client's metrics of the process, on a port of its own. It asks for no credentials: keep it
 * behind a firewall.
 */
export async function serveMetrics (registry: Registry, host: string, port: number): Promise<Server> {
  collectDefaultMetrics({ register: registry })
  const server = createServer((request, response) => {
    if (!isSafeMethod(request.method ?? '') || request.url !== '/metrics') {
      response.writeHead(404).end()
      return
    }
    registry.metrics().then(
      text => response.writeHead(200, { 'content-type': registry.contentType, 'content-length': Buffer.byteLength(text) }).end(text),
      () => response.writeHead(500).end()
    )
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve))
  return server
}
