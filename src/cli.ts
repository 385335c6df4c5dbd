import { createIdleAttempts } from './attempts/service.js'
import { createAttemptStore } from './attempts/store.js'
import { createAudit } from './audit/service.js'
import { createAuditStore } from './audit/store.js'
import { systemClock } from './clock.js'
import { checkCommand, runCommand, withAbsolutePaths } from './commands.js'
import { type Config, ConfigError, loadConfig } from './config.js'
import { type CommandOutcome, callServer } from './edges/command-socket.js'
import { explainDatabase, openMigrated } from './open-database.js'
import { createPrune } from './tokens/prune.js'
import { createTokenStore } from './tokens/store.js'
import { createUserImport } from './users/import.js'
import { createUserStore } from './users/store.js'

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
  try {
    const audit = createAudit({ store: createAuditStore(database), clock: systemClock, retentionSeconds: config.auditRetentionSeconds })
    const idleAttempts = createIdleAttempts({ store: createAttemptStore(database), clock: systemClock })
    const prune = createPrune({ store: createTokenStore(database), audit, idleAttempts, clock: systemClock, retentionSeconds: config.pruneRetentionSeconds })
    const importUsers = createUserImport({ store: createUserStore(database), transactions: database, clock: systemClock })
    return await runCommand({ prune, importUsers }, name, args)
  } finally {
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
