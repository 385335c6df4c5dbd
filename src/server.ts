import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import closeWithGrace from 'close-with-grace'
import { buildApp } from './app.js'
import { runCommand } from './commands/index.js'
import { type Config, ConfigError, loadConfig } from './config/config.js'
import { explainDatabase } from './database/open.js'
import { serveCommands } from './embedded/command-server.js'
import { openFoundation } from './foundation.js'
import { watchConnections } from './http/connections.js'
import { createLogger } from './observability/logger.js'
import { serveMetrics } from './observability/metrics.js'
import { RedisRefusedError } from './redis/open.js'

/** What follows DRAIN_DELAY: requests under way may wait so long for the database, be read and answered so long, and the process is gone after that. */
const databasePatienceMs = 4_000
const requestPatienceMs = 5_500
const closingMs = 7_500
/** Clients that come all at once, as after a restart, wait to be accepted, up to what the system allows (net.core.somaxconn); past it connections are lost. Node's own figure is 511. */
const backlog = 4_096

/** Configuration, database, app, listen; and on SIGTERM all of it backwards, within DRAIN_DELAY and 8 s. */
async function main (config: Config): Promise<void> {
  const logger = createLogger(config.logLevel)
  const foundation = await openFoundation(config, logger)
  const latchkey = await buildApp(config, { ...foundation, logger })
  const { app, metrics } = latchkey
  const commands = foundation.database.embedded ? await listenForCommands(config, ({ command, args, password, folder }) => runCommand(latchkey, command, args, password, folder)) : null

  const metricsServer = config.metricsPort === undefined ? null : await serveMetrics(metrics, config.host, config.metricsPort)

  const connections = watchConnections(app.server)
  // Whoever presses Ctrl+C has no load balancer, and neither has the embedded database.
  const drainMs = foundation.database.embedded ? 0 : config.drainDelaySeconds * 1000

  closeWithGrace({ delay: drainMs + closingMs, logger }, async ({ err: error, signal }) => {
    if (error !== undefined) logger.fatal({ err: error }, 'closing after an error')
    latchkey.health.leave()
    if (signal === 'SIGTERM') await delay(drainMs)
    await commands?.close()
    metricsServer?.close()
    // Who still waits for the database by then waits for one that is gone: he is told so, and the process ends in time.
    const timers = [
      setTimeout(() => { void foundation.database.close(0) }, databasePatienceMs),
      setTimeout(() => app.server.closeAllConnections(), requestPatienceMs),
      // By then whatever has arrived on them is read.
      setTimeout(connections.endSilent, 100)
    ]
    await app.close()
    for (const timer of timers) clearTimeout(timer)
    await foundation.close()
  })

  await app.listen({ host: config.host, port: config.port, backlog })
  greet(config, (app.server.address() as AddressInfo).port)

  function listenForCommands (config: Config, run: Parameters<typeof serveCommands>[1]) {
    return serveCommands(config.dataDir, run).catch((error: Error) => {
      logger.warn(`commands cannot reach this server while it runs: ${error.message}`)
      return null
    })
  }
}

function greet (config: Config, port: number): void {
  const base = `http://${config.host.includes(':') ? `[${config.host}]` : config.host}:${port}`
  const lines = [`Latchkey listens on ${base}`, `Documentation: ${base}/docs`]
  if (config.databaseUrl === undefined) lines.push(`Embedded database in ${config.dataDir}: for development, one process; it survives a crash of the process, not a power cut. Set DATABASE_URL for real use.`)
  if (config.smtp === null) lines.push(`Mails are files in ${join(config.dataDir, 'mail')}, for development. Set SMTP_URL for real use.`)
  lines.push(`Try: curl -s ${base}/v1/register -H 'content-type: application/json' -d '{"email":"ada@example.com","password":"correct horse battery staple"}'`)
  process.stdout.write(`${lines.join('\n')}\n`)
}

/** One line for the operator: what is wrong, where, and what to do. */
function explain (error: unknown, config: Config | null): string {
  if (error instanceof ConfigError || error instanceof RedisRefusedError) return error.message
  const explained = config === null ? error : explainDatabase(config, error)
  if (!(explained instanceof Error)) return 'The server could not start.'
  return 'code' in explained && explained.code === 'EADDRINUSE' ? 'The address is in use: another server listens on HOST and PORT.' : explained.message
}

// Read once: the file of a secret may be a pipe.
let config: Config | null = null
try {
  config = loadConfig()
  await main(config)
} catch (error) {
  process.stderr.write(`Latchkey cannot start: ${explain(error, config)}\n`)
  process.exit(1)
}
