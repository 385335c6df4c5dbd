import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { CommandOutcome } from '../embedded/command-messages.js'
import { clearCache } from './clear-cache.js'
import type { Command, CommandParts, Values } from './command.js'
import { createService } from './create-service.js'
import { createUser } from './create-user.js'
import { deleteUser } from './delete-user.js'
import { importUsers } from './import-users.js'
import { promoteUser } from './promote-user.js'
import { pruneTokens } from './prune-tokens.js'
import { revokeTokens } from './revoke-tokens.js'
import { tokenStats } from './token-stats.js'

const commands: Record<string, Command> = {
  'tokens:prune': pruneTokens,
  'tokens:revoke': revokeTokens,
  'tokens:stats': tokenStats,
  'cache:clear': clearCache,
  'services:create': createService,
  'users:create': createUser,
  'users:promote': promoteUser,
  'users:delete': deleteUser,
  'users:import': importUsers
}

const common = { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } as const

/** The names of all commands. */
export const commandNames = Object.keys(commands)

/** An outcome when nothing needs to be opened: help, an unknown command, bad arguments (exit 2); else null. */
export function checkCommand (name: string, args: string[]): CommandOutcome | null {
  const command = find(name)
  if (name === '--help' || name === '-h') return { exitCode: 0, stdout: `Commands, each with --help:\n${[...commandNames, 'db:migrate'].map(known => `  npm run ${known}`).join('\n')}`, stderr: '' }
  if (command === undefined) return { exitCode: 2, stdout: '', stderr: `Unknown command ${JSON.stringify(name)}. There are: ${commandNames.join(', ')}` }
  const wrong = (why: string) => ({ exitCode: 2, stdout: '', stderr: `${why}\n\n${command.help}` })
  try {
    const { values, positionals } = parse(command, args)
    if (values.help === true) return { exitCode: 0, stdout: command.help, stderr: '' }
    const { files = [] } = command
    if (positionals.length !== files.length) return wrong(`Expected ${files.join(' ')}, one file each.`)
    const problem = command.check?.(values) ?? null
    return problem === null ? null : wrong(problem)
  } catch (error) {
    return wrong((error as Error).message)
  }
}

/** What has to be asked before this can be done, for arguments that have been checked; null: nothing, or --yes has answered it. */
export function questionOf (name: string, args: string[]): string | null {
  const command = find(name)
  if (command?.question === undefined) return null
  const { values } = parse(command, args)
  return values.yes === true ? null : command.question(values)
}

/** Whether this takes a password from the standard input. */
export function readsPassword (name: string, args: string[]): boolean {
  const command = find(name)
  return command?.readsPassword?.(parse(command, args).values) === true
}

/** `args` with the files they name as absolute paths, for a server that runs in another folder. */
export function withAbsolutePaths (name: string, args: string[]): string[] {
  const command = find(name)
  if (command?.files === undefined) return args
  const at = new Set(parse(command, args).tokens.flatMap(token => token.kind === 'positional' ? [token.index] : []))
  return args.map((arg, i) => at.has(i) ? resolve(arg) : arg)
}

/** Runs a command; exit 0 done, 1 failed, 2 bad arguments, a question nobody has answered among them. */
export async function runCommand (parts: CommandParts, name: string, args: string[], password?: string): Promise<CommandOutcome> {
  const checked = checkCommand(name, args)
  if (checked !== null) return checked
  const question = questionOf(name, args)
  if (question !== null) return unanswered(question)
  const command = commands[name] as Command
  const { values, positionals } = parse(command, args)
  const { json, text, failed = false } = await command.run(parts, values, positionals, password)
  if (values.json === true) return { exitCode: failed ? 1 : 0, stdout: JSON.stringify(json), stderr: '' }
  return failed ? { exitCode: 1, stdout: '', stderr: text } : { exitCode: 0, stdout: text, stderr: '' }
}

/** The outcome where nobody is there to be asked. */
export function unanswered (question: string): CommandOutcome {
  return { exitCode: 2, stdout: '', stderr: `${question} This cannot be undone, and nobody is there to be asked: say --yes.` }
}

function find (name: string): Command | undefined {
  return Object.hasOwn(commands, name) ? commands[name] : undefined
}

function parse ({ options, files, question }: Command, args: string[]) {
  const yes = question === undefined ? {} : { yes: { type: 'boolean' } } as const
  const parsed = parseArgs({ args, options: { ...common, ...yes, ...options }, strict: true, allowPositionals: files !== undefined, tokens: true })
  return { ...parsed, values: parsed.values as Values }
}
