import { createServer, type Server } from 'node:http'
import { Counter, Gauge, Registry } from 'prom-client'
import type { Counters } from '../tokens/counters.js'

interface Parts { counters: Counters, trusted (): boolean, passwordsWaiting (): number }

/** What this process has counted, in Prometheus' words. Nothing here names a user, a token or an address. */
export function createMetrics ({ counters, trusted, passwordsWaiting }: Parts): Registry {
  const registry = new Registry()
  const registers = [registry]

  function total (name: string, help: string, read: () => number): void {
    new Counter({ name: `latchkey_${name}_total`, help, registers, collect () { this.reset(); this.inc(read()) } })
  }
  function gauge (name: string, help: string, read: () => number): void {
    new Gauge({ name: `latchkey_${name}`, help, registers, collect () { this.set(read()) } })
  }

  total('cache_hits', 'Look-ups answered by a cache entry', () => counters.hits)
  total('cache_refusals', 'Look-ups answered by the mark of a revoked token', () => counters.refusals)
  total('cache_misses', 'Look-ups that took a lease and read the database', () => counters.misses)
  total('cache_fills', 'Entries written under a lease', () => counters.fills)
  total('database_reads', 'Statements that looked tokens up; one serves all look-ups of an event-loop turn', () => counters.databaseReads)
  new Counter({
    name: 'latchkey_cache_bypasses_total',
    help: 'Look-ups that went to the database although there is a cache, by reason',
    labelNames: ['reason'],
    registers,
    collect () {
      this.reset()
      for (const [reason, count] of Object.entries(counters.bypasses)) this.inc({ reason }, count)
    }
  })
  gauge('cache_trusted', '1 while cache entries are believed', () => trusted() ? 1 : 0)
  total('cache_trust_losses', 'Times trust in the cache was lost', () => counters.trustLosses)
  total('cache_registrations', 'Cache servers registered by this process', () => counters.registrations)
  total('settlements', 'Revocations made true in every cache before they were answered', () => counters.settlements)
  total('settlements_by_peers', 'Of these, settled by another instance', () => counters.settledByPeers)
  total('settlements_assisted', 'Settlements of other instances carried out here', () => counters.assists)
  total('generation_bumps', 'Times every cache entry was made void to settle a revocation', () => counters.bumps)
  total('settlement_seconds', 'Time revocations waited to be settled', () => counters.settleMsTotal / 1000)
  gauge('settlement_longest_seconds', 'The longest of these waits', () => counters.settleMsMax / 1000)
  gauge('password_queue', 'Password hashes waiting for a worker', passwordsWaiting)
  return registry
}

/** Serves GET /metrics on a port of its own, which belongs behind a firewall: it asks nobody who they are. */
export async function serveMetrics (registry: Registry, host: string, port: number): Promise<Server> {
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
