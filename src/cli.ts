import { checkCommand, questionOf, readsPassword, runCommand, unanswered, withAbsolutePaths } from './commands/index.js'
import { confirm, isTerminal, readPassword } from './commands/terminal.js'
import { type Config, ConfigError, loadConfig } from './config/config.js'
import { explainDatabase, openMigrated } from './database/open.js'
import { callServer } from './embedded/command-client.js'
import type { CommandOutcome } from './embedded/command-messages.js'
import { createLogger } from './observability/logger.js'
import { openRedis } from './redis/open.js'
import { createServices } from './services.js'

let config: Config | null = null

/** Read once: the file of a secret may be a pipe. */
function configured (): Config {
  config ??= loadConfig()
  return config
}

/** One of the operator's commands, from the shell. An embedded database may be a running server's: then the server carries it out. */
async function main ([name = '', ...args]: string[]): Promise<CommandOutcome> {
  if (name === 'db:migrate') return await migrateOnly(configured())
  const checked = checkCommand(name, args)
  if (checked !== null) return checked
  const config = configured()
  const question = questionOf(name, args)
  if (question !== null && !isTerminal()) return unanswered(question)
  if (question !== null && !await confirm(question)) return { exitCode: 1, stdout: '', stderr: 'Nothing was done.' }
  const password = readsPassword(name, args) ? await readPassword() : undefined
  const answered = withAbsolutePaths(name, question === null ? args : ['--yes', ...args])
  return await carryOut(config, name, answered, password)
}

async function carryOut (config: Config, name: string, args: string[], password: string | undefined): Promise<CommandOutcome> {
  const outcome = config.databaseUrl === undefined ? await callServer(config.dataDir, { command: name, args, ...password === undefined ? {} : { input: password } }) : null
  return outcome ?? await runAlone(config, name, args, password)
}

async function runAlone (config: Config, name: string, args: string[], password: string | undefined): Promise<CommandOutcome> {
  const database = await openMigrated(config, 'command')
  const logger = createLogger('silent')
  const redis = config.redis === undefined ? null : openRedis(config.redis, { keyPrefix: config.redisKeyPrefix, log: logger })
  try {
    // It goes on without Redis: what that would do faster, other instances do, see settle.ts.
    await redis?.check().catch(() => {})
    // Not started: no poll runs here, so no entry is believed or filled. What ends tokens settles all the same, and waits for who does poll.
    const services = await createServices(config, { database, redis, logger })
    return await runCommand(services, name, args, password).finally(services.stop)
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
  const explained = config === null ? error : explainDatabase(config, error)
  return { exitCode: 1, stdout: '', stderr: explained instanceof Error ? explained.message : 'The command failed.' }
}

const outcome = await main(process.argv.slice(2)).catch(explain)
if (outcome.stdout !== '') process.stdout.write(`${outcome.stdout}\n`)
if (outcome.stderr !== '') process.stderr.write(`${outcome.stderr}\n`)
process.exitCode = outcome.exitCode
