import type { Extras } from './commands/command.js'
import { readCall, type ServiceCall, unconfirmed } from './commands/index.js'
import { createProgressDisplay } from './commands/progress.js'
import { confirm, isTerminal, readPassword } from './commands/terminal.js'
import { type ConfigCheck, checkConfig } from './config/check.js'
import { type Config, ConfigError, loadConfig } from './config/config.js'
import { nameDatabase } from './config/names.js'
import { explainDatabase, openExisting, openMigrated } from './database/open.js'
import { findUrlProblem } from './database/url.js'
import { callServer } from './embedded/command-client.js'
import type { CommandOutcome } from './embedded/command-messages.js'
import { requireVaultKeys } from './embedded/vault-keys.js'
import { createLogger } from './observability/logger.js'
import { openRedis } from './redis/open.js'
import { createServices } from './services.js'

let config: Config | null = null

/** Reads the configuration, once: the file of a secret may be a pipe. Names the database on stderr: the result is on stdout. */
function announce (): Config {
  config = loadConfig()
  process.stderr.write(`Database: ${nameDatabase(config)}\n`)
  return config
}

/** Runs one of the operator's commands. Where a running server has the embedded database open, that server carries it out. */
async function main ([name = '', ...args]: string[]): Promise<CommandOutcome> {
  const call = readCall(name, args)
  if ('exitCode' in call) return call
  if ('runLocally' in call) return await call.runLocally({ migrate, checkConfig: checkEnvironment })
  const config = announce()
  if (call.question !== null && !isTerminal()) return unconfirmed(call.question)
  if (call.question !== null && !await confirm(call.question)) return { exitCode: 1, stdout: '', stderr: 'Nothing was done.' }
  const password = call.readsPassword ? await readPassword() : undefined
  const display = call.showsProgress ? createProgressDisplay(process.stderr) : null
  const extras = { password, onProgress: display?.show }
  try {
    if (config.databaseUrl !== undefined) return await runAlone(config, call, extras)
    const confirmed = call.question === null ? args : ['--yes', ...args]
    const request = { command: name, args: confirmed, folder: process.cwd(), ...password === undefined ? {} : { password } }
    return await callServer(config.dataDir, request, extras) ?? await runAlone(config, call, extras)
  } finally {
    display?.end()
  }
}

async function migrate (): Promise<void> {
  const database = await openMigrated(announce(), 'command')
  await database.close()
}

/** The check, and what opening the database would complain of before it connects. */
function checkEnvironment (): ConfigCheck {
  const { config, ...found } = checkConfig()
  const problem = config?.databaseUrl === undefined ? null : findUrlProblem(config.databaseUrl)
  return problem === null ? found : { ...found, problems: [...found.problems, problem] }
}

async function runAlone (config: Config, call: ServiceCall, extras: Extras): Promise<CommandOutcome> {
  const database = await openExisting(config)
  const logger = createLogger('silent')
  const redis = config.redis === undefined ? null : openRedis(config.redis, { keyPrefix: config.redisKeyPrefix, log: logger })
  try {
    // It goes on without Redis: what that would do faster, other instances do, see settle.ts.
    await redis?.check().catch(() => {})
    // Not started: no poll runs here, so no entry is believed or filled. What ends tokens settles all the same, and waits for who does
    // poll.
    const services = await createServices(config, { database, redis, logger, vaultKeys: await requireVaultKeys(config) })
    return await call.run(services, extras).finally(services.stop)
  } finally {
    redis?.close()
    await database.close()
  }
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
