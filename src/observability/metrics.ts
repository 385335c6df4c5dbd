import { createServer, type Server } from 'node:http'
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { Counters } from '../counters.js'
import type { Database } from '../database/database.js'
import type { OutboxStore } from '../mail/outbox-store.js'
import { withTimeout } from '../shared/timeout.js'
import type { Passwords } from '../users/password.js'
import { DurationsHistogram } from './metrics-histogram.js'
import { type RouteTraffic, statusesOf } from './traffic.js'

/** How long a scrape waits for the database. */
const patienceMs = 1_000

interface Parts {
  counters: Counters
  trusted (): boolean
  passwords: Pick<Passwords, 'waiting' | 'work'>
  /** Milliseconds of a statement, or null when the database can't answer. */
  roundTrip (): Promise<number | null>
  load: Database['load']
  outbox: Pick<OutboxStore, 'waiting'>
}

/**
 * What this process has counted, in Prometheus' words; docs/METRICS.md says what each means. Nothing here names a user, a token or an address.
 * Reading it asks the database twice: whether it is there, and for the outbox.
 */
export function createMetrics ({ counters, trusted, passwords, roundTrip, load, outbox }: Parts): Registry {
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
  /** A gauge that has to ask; it has no value where nobody answers. */
  function asked (name: string, help: string, read: () => Promise<number>): void {
    new Gauge({ name: `latchkey_${name}`, help, registers, async collect () { this.set(await read().catch(() => Number.NaN)) } })
  }

  total('cache_hits', 'Look-ups answered by a cache entry', () => counters.hits)
  total('cache_refusals', 'Look-ups answered by the mark of a revoked token', () => counters.refusals)
  total('cache_misses', 'Look-ups that took a lease and read the database', () => counters.misses)
  total('cache_fills', 'Entries written under a lease', () => counters.fills)
  totals('cache_bypasses', 'Look-ups that went to the database although there is a cache, by reason', 'reason', () => counters.bypasses)
  total('cache_failures', 'Commands to the cache that failed or were not answered in time', () => counters.failures)
  gauge('cache_trusted', '1 while cache entries are believed', () => trusted() ? 1 : 0)
  total('cache_trust_losses', 'Times trust in the cache was lost', () => counters.trustLosses)
  total('cache_registrations', 'Cache servers registered by this process', () => counters.registrations)

  total('settlements', 'Revocations made true in every cache before they were answered', () => counters.settlements)
  total('settlements_by_peers', 'Of these, settled by another instance', () => counters.settledByPeers)
  total('settlements_assisted', 'Settlements of other instances carried out here', () => counters.assists)
  total('generation_bumps', 'Times every cache entry was made void to settle a revocation', () => counters.bumps)
  new DurationsHistogram({ name: 'latchkey_settlement_duration_seconds', help: 'How long revocations waited to be settled', registry, read: () => [{ labels: {}, durations: counters.settling }] })
  gauge('settlement_longest_seconds', 'The longest of these waits', () => counters.settleMsMax / 1000)
  totals('refreshes', 'What became of refresh tokens; reused: used again past the grace', 'outcome', () => counters.refreshes)

  gauge('password_queue', 'Password hashes waiting for a worker', passwords.waiting)
  total('password_refusals', 'Password hashes refused because too many waited', () => passwords.work.refused)
  new DurationsHistogram({ name: 'latchkey_password_duration_seconds', help: 'How long a password hash took its worker', registry, read: () => [{ labels: {}, durations: passwords.work.durations }] })

  asked('database_up', '1 when the database answers, as /health/ready asks it', async () => await roundTrip() === null ? 0 : 1)
  total('database_reads', 'Statements that looked tokens up; one serves all look-ups of an event-loop turn', () => counters.databaseReads)
  if (load !== undefined) {
    gauge('database_connections', 'Connections to PostgreSQL for requests, DATABASE_POOL', () => load().connections)
    gauge('database_under_way', 'Statements and transactions begun and not ended, those that wait for another among them', () => load().underWay)
    gauge('database_waiting', 'Of these, those past the number of connections: at least so many wait', () => Math.max(0, load().underWay - load().connections))
    total('database_refusals', 'Statements and transactions refused because too many waited', () => load().refused)
  }

  const { prune } = counters
  totals('prune_runs', 'Prunes by this process; skipped: another instance was at it', 'outcome', () => ({ done: prune.done, skipped: prune.skipped, failed: prune.failed }))
  totals('prune_rows', 'Rows that these deleted', 'rows', () => prune.rows)
  gauge('prune_last_done_timestamp_seconds', 'When this process last ended a prune, 0: not yet', () => prune.lastDoneAtMs / 1000)
  gauge('prune_last_duration_seconds', 'How long that took', () => prune.lastMs / 1000)

  totals('mails', 'What became of attempts to send a mail', 'outcome', () => counters.mails)
  let latest: ReturnType<typeof outbox.waiting> | null = null
  const look = () => latest ??= withTimeout(outbox.waiting(), patienceMs, () => {}).finally(() => { latest = null })
  asked('mail_waiting', 'Mails in the outbox, which all instances share; counted up to 10000', async () => (await look()).mails)
  asked('mail_oldest_seconds', 'Age of the oldest of these, 0: none', async () => (await look()).oldestSeconds)
  return registry
}

/** Adds what the routes have answered. */
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
    // Without those that nobody has asked for: they are most.
    read: () => traffic.filter(({ durations }) => durations.totalMs > 0).map(route => ({ labels: labelsOf(route), durations: route.durations }))
  })
}

/** Serves GET /metrics, with the figures of the process itself, on a port of its own, which belongs behind a firewall: it asks nobody who they are. */
export async function serveMetrics (registry: Registry, host: string, port: number): Promise<Server> {
  collectDefaultMetrics({ register: registry })
  const server = createServer((request, response) => {
    if (request.method !== 'GET' || request.url !== '/metrics') {
      response.writeHead(404).end()
      return
    }
    registry.metrics().then(
      text => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
      () => response.writeHead(500).end()
    )
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve))
  return server
}
