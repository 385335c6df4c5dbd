import { existsSync } from 'node:fs'
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
import { listen } from './http/listen.js'
import { createLogger, type Log } from './observability/logger.js'
import { serveMetrics } from './observability/metrics.js'
import { createReadableLog } from './observability/readable-log.js'
import { RedisRefusedError } from './redis/open.js'
import { type Setup, setupMinutes } from './setup/service.js'

/**
 * After DRAIN_DELAY: how long requests may still wait for the database, how long they may take in all, and when the process ends at the
 * latest.
 */
const databasePatienceMs = 4_000
const requestPatienceMs = 5_500
const closingMs = 7_500
/** Whether people read the output; else it is for programs. */
const isTerminal = process.stdout.isTTY

/** Configuration, database, app, listen; and on SIGTERM all of it backwards, within DRAIN_DELAY and 8 s. */
async function main (config: Config): Promise<void> {
  const logger = createLogger(config.logLevel, isTerminal && !config.production ? await createReadableLog() : undefined)
  if (config.databaseUrl === undefined &&
    !existsSync(join(config.dataDir, 'postgres'))) logger.info(`creating an embedded database in ${config.dataDir}`)
  const foundation = await openFoundation(config, logger)
  const latchkey = await buildApp(config, { ...foundation, logger })
  const { app, metrics } = latchkey
  const commands = foundation.database.embedded
    ? await listenForCommands(config, ({ command, args, ...given }, onProgress) =>
      runCommand(latchkey, command, args, { ...given, onProgress }))
    : null

  const metricsServer = config.metricsPort === undefined ? null : await serveMetrics(metrics, config.host, config.metricsPort)

  const connections = watchConnections(app.server)
  // Neither Ctrl+C nor the embedded database has a load balancer in front.
  const drainMs = foundation.database.embedded ? 0 : config.drainDelaySeconds * 1000

  closeWithGrace({ delay: drainMs + closingMs, logger }, async ({ err: error, signal }) => {
    if (error !== undefined) logger.fatal({ err: error }, 'closing after an error')
    latchkey.health.leave()
    if (signal === 'SIGTERM') await delay(drainMs)
    await commands?.close()
    metricsServer?.close()
    // Requests that still wait for the database by then wait for one that is gone: they are answered 503, and the process ends in time.
    const timers = [
      setTimeout(() => { void foundation.database.close(0) }, databasePatienceMs),
      setTimeout(() => app.server.closeAllConnections(), requestPatienceMs),
      // By then everything that has arrived on them has been read.
      setTimeout(connections.endSilent, 100)
    ]
    await app.close()
    for (const timer of timers) clearTimeout(timer)
    await foundation.close()
  })

  const url = await listen(app, config)
  // In production the output is JSON alone.
  if (isTerminal || !config.production) greet(config, url)
  else logger.info({ sessionLimit: config.sessionLimit }, limitOf(config))
  if (config.pages) await offerSetup(config, latchkey.setup, url, logger)

  function listenForCommands (config: Config, run: Parameters<typeof serveCommands>[1]) {
    return serveCommands(config.dataDir, run).catch((error: Error) => {
      logger.warn(`commands cannot reach this server while it runs: ${error.message}`)
      return null
    })
  }
}

/** Where there is no administrator, prints the link that makes one: beside the log, in which no credential may stand. */
async function offerSetup ({ publicUrl }: Config, setup: Setup, url: string, log: Pick<Log, 'warn'>): Promise<void> {
  try {
    const token = await setup.invite()
    if (token === null) return
    const page = `${publicUrl ?? url}/admin/setup`
    process.stderr.write(
      `There is no administrator yet. To make the first one, open this link within ${setupMinutes} minutes; it works once.\n${page}#token=${token.reveal()}\n`
    )
  } catch (error) {
    log.warn({ err: error }, 'the link that makes the first administrator could not be made: restart, or use users:create -- --admin')
  }
}

function greet (config: Config, url: string): void {
  const lines = [`Latchkey listens on ${url}`, `Documentation: ${url}/docs`, ...config.pages ? [`Pages for people: ${url}/account`] : [], `Sessions: ${limitOf(config)}.`]
  if (config.databaseUrl === undefined) {
    lines.push(
      `Embedded database in ${config.dataDir}: for development, one process; it survives a crash of the process, not a power cut. Set DATABASE_URL for real use.`
    )
  }
  if (config.smtp === null) lines.push(`Mails are files in ${join(config.dataDir, 'mail')}, for development. Set SMTP_URL for real use.`)
  lines.push(
    `Try: curl -s ${url}/v1/register -H 'content-type: application/json' -d '{"email":"ada@example.com","password":"correct horse battery staple"}'`
  )
  process.stdout.write(`${lines.join('\n')}\n`)
}

function limitOf ({ sessionLimit }: Config): string {
  if (sessionLimit === 0) return 'a user may have any number (SESSION_LIMIT=0)'
  return `a user may have ${sessionLimit} at a time, and a login past that ends the oldest (SESSION_LIMIT=${sessionLimit}; 0: no limit)`
}

/** One line for the operator: what is wrong, where, and what to do. */
function explain (error: unknown, config: Config | null): string {
  if (error instanceof ConfigError || error instanceof RedisRefusedError) return error.message
  const explained = config === null ? error : explainDatabase(config, error)
  if (!(explained instanceof Error)) return 'The server could not start.'
  return 'code' in explained && explained.code === 'EADDRINUSE'
    ? 'The address is in use: another server listens on HOST and PORT.'
    : explained.message
}

const usage = `Usage: npm start
The server takes no arguments: its configuration is in the environment. npm run config:check shows it; README lists the variables.`

const [argument] = process.argv.slice(2)
if (argument !== undefined) {
  if (argument === '--help' || argument === '-h') process.stdout.write(`${usage}\n`)
  else process.stderr.write(`Unexpected argument ${JSON.stringify(argument)}.\n\n${usage}\n`)
  process.exit(argument === '--help' || argument === '-h' ? 0 : 2)
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
