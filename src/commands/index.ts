import { resolve } from 'node:path'
import { type ParseArgsConfig, parseArgs } from 'node:util'
import type { CommandOutcome } from '../embedded/command-messages.js'
import { checkConfig } from './check-config.js'
import { clearCache } from './clear-cache.js'
import type { Command, CommandServices, Extras, Input, LocalActions, Option, Report } from './command.js'
import { createService } from './create-service.js'
import { createUser } from './create-user.js'
import { deleteService } from './delete-service.js'
import { deleteUser } from './delete-user.js'
import { disableUser } from './disable-user.js'
import { enableUser } from './enable-user.js'
import { helpOf, listOf, optionsOf } from './help.js'
import { importUsers } from './import-users.js'
import { listServices } from './list-services.js'
import { listUsers } from './list-users.js'
import { migrateDatabase } from './migrate-database.js'
import { promoteUser } from './promote-user.js'
import { pruneTokens } from './prune-tokens.js'
import { revokeTokens } from './revoke-tokens.js'
import { showUser } from './show-user.js'
import { tokenStats } from './token-stats.js'
import { verifierRole } from './verifier-role.js'

const commands: Record<string, Command> = {
  'db:migrate': migrateDatabase,
  'users:create': createUser,
  'users:list': listUsers,
  'users:show': showUser,
  'users:promote': promoteUser,
  'users:disable': disableUser,
  'users:enable': enableUser,
  'users:delete': deleteUser,
  'users:import': importUsers,
  'services:create': createService,
  'services:list': listServices,
  'services:delete': deleteService,
  'tokens:stats': tokenStats,
  'tokens:revoke': revokeTokens,
  'tokens:prune': pruneTokens,
  'cache:clear': clearCache,
  'config:check': checkConfig,
  'verifier:role': verifierRole
}

/** The names of all commands. */
export const commandNames = Object.keys(commands)

interface Prepared {
  /** What to ask before it is run; null: nothing, or --yes was given. */
  question: string | null
  readsPassword: boolean
  showsProgress: boolean
}

/** A command whose arguments have been read and checked. Running it exits with 0 when done, 1 when failed. */
export type Call = LocalCall | ServiceCall
export interface ServiceCall extends Prepared { run (services: CommandServices, extras?: Extras): Promise<CommandOutcome> }
export interface LocalCall extends Prepared { runLocally (local: LocalActions): Promise<CommandOutcome> }

/**
 * Reads the arguments: a call, or the outcome where nothing is to be done: help, an unknown command, bad arguments (exit 2). Files are
 * relative to `folder`.
 */
export function readCall (name: string, args: string[], folder = process.cwd()): Call | CommandOutcome {
  if (name === '--help' || name === '-h') return said(listOf(commands))
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command === undefined) return refused(`Unknown command ${JSON.stringify(name)}.\n\n${listOf(commands)}`)
  try {
    const { values, positionals } = parse(command, args)
    if (values.help === true) return said(helpOf(name, command))
    const problem = findProblem(command, values, positionals)
    return problem === null ? callOf(command, values, positionals.map(file => resolve(folder, file))) : wrong(problem)
  } catch (error) {
    return wrong((error as Error).message)
  }

  function wrong (why: string): CommandOutcome {
    return refused(`${why}\n\n${helpOf(name, command as Command)}`)
  }
}

/** Reads and runs a command on `services`. Exit 2 for bad arguments, and where a question isn't answered by --yes. */
export async function runCommand (
  services: CommandServices, name: string, args: string[], { folder, ...extras }: Extras & { folder?: string | undefined } = {}
): Promise<CommandOutcome> {
  const call = readCall(name, args, folder)
  if ('exitCode' in call) return call
  if (call.question !== null) return unconfirmed(call.question)
  return 'run' in call ? await call.run(services, extras) : refused(`${name} is not for a running server.`)
}

/** The outcome of a question where nobody can answer. */
export function unconfirmed (question: string): CommandOutcome {
  return refused(`${question} This cannot be undone: pass --yes.`)
}

function parse (command: Command, args: string[]): { values: Input['values'], positionals: string[] } {
  const options = optionsOf(command)
  const config = Object.fromEntries(Object.entries(options).map(([name, { type }]) =>
    [name, { type, ...name === 'help' ? { short: 'h' } : {} }])) as ParseArgsConfig['options']
  const { values, positionals } = parseArgs({ args, options: config, strict: true, allowPositionals: command.files !== undefined })
  const absent = Object.entries(options).map(([name, { type }]) => [name, type === 'boolean' ? false : undefined])
  return { values: { ...Object.fromEntries(absent), ...values } as Input['values'], positionals }
}

function findProblem (command: Command, values: Input['values'], files: string[]): string | null {
  for (const [name, option] of Object.entries(command.options)) {
    const problem = findOptionProblem(name, option, values[name])
    if (problem !== null) return problem
  }
  const { files: expected = [] } = command
  if (files.length !== expected.length) return `Expected ${expected.join(' ')}: one file, not ${files.length}.`
  return command.check?.(values) ?? null
}

function findOptionProblem (name: string, { value, required, check }: Option, given: string | boolean | undefined): string | null {
  if (given === undefined && required === true) return `--${name} ${value} is missing.`
  const problem = typeof given === 'string' ? check?.(given) ?? null : null
  return problem === null ? null : `--${name} ${problem}.`
}

function callOf (command: Command, values: Input['values'], files: string[]): Call {
  const print = ({ json, text, failed = false }: Report): CommandOutcome => {
    if (values.json === true) return { exitCode: failed ? 1 : 0, stdout: JSON.stringify(json), stderr: '' }
    return failed ? { exitCode: 1, stdout: '', stderr: text } : said(text)
  }
  const prepared = {
    question: values.yes === true ? null : command.question?.(values) ?? null,
    readsPassword: command.readsPassword?.(values) ?? false,
    showsProgress: values.progress === true
  }
  return 'run' in command
    ? { ...prepared, run: async (services, { password, onProgress } = {}) => print(await command.run(services, {
      values, files, password, onProgress: prepared.showsProgress ? onProgress : undefined
    })) }
    : { ...prepared, runLocally: async local => print(await command.runLocally(local, { values, files })) }
}

const said = (stdout: string): CommandOutcome => ({ exitCode: 0, stdout, stderr: '' })
const refused = (stderr: string): CommandOutcome => ({ exitCode: 2, stdout: '', stderr })
