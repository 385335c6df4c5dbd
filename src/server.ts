import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import closeWithGrace from 'close-with-grace'
import { buildApp } from './app.js'
import { runCommand } from './commands.js'
import { type Config, ConfigError, loadConfig } from './config.js'
import { serveCommands } from './edges/command-socket.js'
import { serveMetrics } from './edges/metrics.js'
import { createLogger } from './logger.js'
import { explainDatabase } from './open-database.js'
import { openFoundation } from './open-foundation.js'
import { RedisRefusedError } from './open-redis.js'

/** How long requests under way may wait for the database once the process is to end. */
const databasePatienceMs = 5_000

/** Configuration, database, app, listen; and on SIGTERM all of it backwards, within 10 s. */
async function main (): Promise<void> {
  const config = loadConfig()
  const logger = createLogger(config.logLevel)
  const foundation = await openFoundation(config, logger)
  const latchkey = await buildApp(config, { ...foundation, logger })
  const { app, metrics } = latchkey
  const commands = foundation.database.embedded ? await listenForCommands(config, (name, args, input) => runCommand(latchkey, name, args, input)) : null

  const metricsServer = config.metricsPort === undefined ? null : await serveMetrics(metrics, config.host, config.metricsPort)

  closeWithGrace({ delay: 9_500, logger }, async ({ err: error }) => {
    if (error !== undefined) logger.fatal({ err: error }, 'closing after an error')
    await commands?.close()
    metricsServer?.close()
    // Who still waits for the database by then waits for one that is gone: he is told so, and the process ends in time.
    const patience = setTimeout(() => { void foundation.database.close() }, databasePatienceMs)
    await app.close()
    clearTimeout(patience)
    await foundation.close()
  })

  await app.listen({ host: config.host, port: config.port })
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
function explain (error: unknown): string {
  if (error instanceof ConfigError || error instanceof RedisRefusedError) return error.message
  const explained = explainDatabase(loadConfig(), error)
  if (!(explained instanceof Error)) return 'The server could not start.'
  return 'code' in explained && explained.code === 'EADDRINUSE' ? 'The address is in use: another server listens on HOST and PORT.' : explained.message
}

main().catch((error: unknown) => {
  process.stderr.write(`Latchkey cannot start: ${explain(error)}\n`)
  process.exit(1)
})
