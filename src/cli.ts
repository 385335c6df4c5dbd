import { checkCommand, runCommand, withAbsolutePaths } from './commands.js'
import { type Config, ConfigError, loadConfig } from './config.js'
import { type CommandOutcome, callServer } from './edges/command-socket.js'
import { createLogger } from './logger.js'
import { explainDatabase, openMigrated } from './open-database.js'
import { openRedis } from './open-redis.js'
import { createServices } from './services.js'

/** One of the operator's commands, from the shell. An embedded database may be a running server's: then the server carries it out. */
async function main ([name = '', ...args]: string[]): Promise<CommandOutcome> {
  if (name === 'db:migrate') return await migrateOnly(loadConfig())
  const checked = checkCommand(name, args)
  if (checked !== null) return checked
  const config = loadConfig()
  const absolute = withAbsolutePaths(name, args)
  const answered = config.databaseUrl === undefined ? await callServer(config.dataDir, name, absolute) : null
  return answered ?? await runAlone(config, name, absolute)
}

async function runAlone (config: Config, name: string, args: string[]): Promise<CommandOutcome> {
  const database = await openMigrated(config, 'command')
  const logger = createLogger('silent')
  const redis = config.redis === undefined ? null : openRedis(config.redis, { keyPrefix: config.redisKeyPrefix, log: logger })
  try {
    // Not started: no poll runs here, so no entry is believed or filled. What ends tokens settles all the same, and waits for who does poll.
    const services = await createServices(config, { database, redis, logger })
    const outcome = await runCommand(services, name, args)
    await services.stop()
    return outcome
  } finally {
    redis?.close()
    await database.close()
  }
}

async function migrateOnly (config: Config): Promise<CommandOutcome> {
  const database = await openMigrated(config, 'command')
  await database.close()
  return { exitCode: 0, stdout: 'The database is at the newest schema.', stderr: '' }
}

/** What an operator reads instead of a stack trace. */
function explain (error: unknown): CommandOutcome {
  if (error instanceof ConfigError) return { exitCode: 2, stdout: '', stderr: error.message }
  const explained = explainDatabase(loadConfig(), error)
  return { exitCode: 1, stdout: '', stderr: explained instanceof Error ? explained.message : 'The command failed.' }
}

const outcome = await main(process.argv.slice(2)).catch(explain)
if (outcome.stdout !== '') process.stdout.write(`${outcome.stdout}\n`)
if (outcome.stderr !== '') process.stderr.write(`${outcome.stderr}\n`)
process.exitCode = outcome.exitCode
