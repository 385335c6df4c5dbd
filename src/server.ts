import type { AddressInfo } from 'node:net'
import closeWithGrace from 'close-with-grace'
import { buildApp } from './app.js'
import { runCommand } from './commands.js'
import { type Config, ConfigError, loadConfig } from './config.js'
import { configWarnings } from './config-warnings.js'
import { serveCommands } from './edges/command-socket.js'
import { DataDirInUseError } from './edges/data-dir.js'
import { serveMetrics } from './edges/metrics.js'
import { createRedis } from './edges/redis.js'
import { createLogger } from './logger.js'
import { explainDatabase, openDatabase } from './open-database.js'

/** How long requests under way may wait for the database once the process is to end. */
const databasePatienceMs = 5_000

/** Configuration, database, app, listen; and on SIGTERM all of it backwards, within 10 s. */
async function main (): Promise<void> {
  const config = loadConfig()
  if (config.production && config.databaseUrl === undefined) throw new ConfigError('NODE_ENV=production needs DATABASE_URL: the embedded database is for one process and for development')
  const logger = createLogger(config.logLevel)
  if (config.bcryptCost < 10) logger.warn({ cost: config.bcryptCost }, 'BCRYPT_COST below 10 is for tests')
  for (const warning of configWarnings(config)) logger.warn(warning)

  const database = await openDatabase(config, 'server')
  await database.migrate()
  const redis = config.redisUrl === undefined ? null : createRedis(config.redisUrl, logger)
  const { app, prune, importUsers, metrics } = await buildApp(config, { database, redis, logger })
  const commands = database.embedded ? await listenForCommands(config, (name, args) => runCommand({ prune, importUsers }, name, args)) : null

  const metricsServer = config.metricsPort === undefined ? null : await serveMetrics(metrics, config.host, config.metricsPort)

  closeWithGrace({ delay: 9_500, logger }, async ({ err: error }) => {
    if (error !== undefined) logger.fatal({ err: error }, 'closing after an error')
    await commands?.close()
    metricsServer?.close()
    // Who still waits for the database by then waits for one that is gone: he is told so, and the process ends in time.
    let databaseClosed: Promise<void> | null = null
    const closeDatabase = () => databaseClosed ??= database.close()
    const patience = setTimeout(() => { void closeDatabase() }, databasePatienceMs)
    await app.close()
    clearTimeout(patience)
    redis?.disconnect()
    await closeDatabase()
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
  lines.push(`Try: curl -s ${base}/v1/register -H 'content-type: application/json' -d '{"email":"ada@example.com","password":"correct horse battery staple"}'`)
  process.stdout.write(`${lines.join('\n')}\n`)
}

/** One line for the operator: what is wrong, where, and what to do. */
function explain (error: unknown): string {
  if (error instanceof ConfigError || error instanceof DataDirInUseError) return error.message
  const database = explainDatabase(error, loadConfig().databaseUrl)
  if (database !== null) return database
  if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') return 'The address is in use: another server listens on HOST and PORT.'
  return error instanceof Error ? error.message : 'The server could not start.'
}

main().catch((error: unknown) => {
  process.stderr.write(`Latchkey cannot start: ${explain(error)}\n`)
  process.exit(1)
})
