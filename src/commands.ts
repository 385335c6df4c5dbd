import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Compile } from 'typebox/compile'
import type { CommandOutcome } from './edges/command-socket.js'
import { Name } from './schemas.js'
import type { ServiceTokenService } from './service-tokens/service.js'
import type { Prune } from './tokens/prune.js'
import type { UserImport } from './users/import.js'

/** What the commands work on. */
export interface CommandParts { prune: Prune, importUsers: UserImport, serviceTokens: Pick<ServiceTokenService, 'create'> }

type Flags = Record<string, string | boolean | undefined>

interface Command {
  help: string
  options: Record<string, { type: 'boolean' | 'string' }>
  /** What is wrong with the options; null: nothing. */
  check? (flags: Flags): string | null
  /** Names of the files that have to follow. */
  files?: string[]
  run (parts: CommandParts, flags: Flags, files: string[]): Promise<{ json: unknown, text: string, failed?: boolean }>
}

const commands: Record<string, Command> = {
  'tokens:prune': {
    help: `Usage: npm run tokens:prune -- [--dry-run] [--json]

Deletes tokens and sessions that expired or were revoked longer ago than PRUNE_RETENTION, events older than AUDIT_RETENTION,
and counts of failed logins that nobody has added to for 90 days.
  --dry-run  count them, delete nothing
  --json     print the report as JSON`,
    options: { 'dry-run': { type: 'boolean' } },
    async run ({ prune }, flags) {
      const report = await prune({ dryRun: flags['dry-run'] === true })
      const text = report.skipped
        ? 'Another instance is pruning: nothing to do here.'
        : `${report.dryRun ? 'Would delete' : 'Deleted'} ${report.tokens} tokens and ${report.sessions} sessions that ended before ${report.before}, ${report.events} old events and ${report.failures} old counts of failed logins.`
      return { json: report, text }
    }
  },
  'users:import': {
    help: `Usage: npm run users:import -- [--dry-run] [--json] FILE

Makes an account of each line of FILE, or none at all: every bad line is named. A line is a JSON object with email and passwordHash
(bcrypt: $2a$, $2b$ or $2y$), and optionally name, emailVerifiedAt and createdAt. At its first login an account gets a hash of our own.
  --dry-run  look at every line, import nothing
  --json     print the report as JSON`,
    options: { 'dry-run': { type: 'boolean' } },
    files: ['FILE'],
    async run ({ importUsers }, flags, [path = '']) {
      const report = await importUsers({ path, dryRun: flags['dry-run'] === true })
      const { users, imported, dryRun, problems } = report
      if (problems.length === 0) return { json: report, text: dryRun ? `Would import ${users} users.` : `Imported ${imported} users.` }
      const lines = [`${dryRun ? 'Nothing would be' : 'Nothing was'} imported: ${problems.length} of ${users} lines are bad.`, ...problems.map(({ line, reason }) => `Line ${line}: ${reason}`)]
      return { json: report, text: lines.join('\n'), failed: true }
    }
  },
  'services:create': {
    help: `Usage: npm run services:create -- --name NAME [--json]

Makes a service that may ask whose a token is: its token goes into the Authorization header of POST /oauth/introspect, as Bearer or as the
password of Basic. It is shown once, here. A name may be used again, so that a new token can relieve an old one.
  --name NAME  what admins see it as
  --json       print it as JSON`,
    options: { name: { type: 'string' } },
    check: ({ name }) => isName.Check(name) ? null : '--name has to be given, with 1 to 200 printable characters',
    async run ({ serviceTokens }, { name }) {
      const { plain, service: { id, createdAt } } = await serviceTokens.create(String(name))
      const json = { id, name, createdAt: createdAt.toISOString(), accessToken: plain.reveal() }
      return { json, text: `Made the service ${name} (${id}). Its token, shown this once:\n${json.accessToken}` }
    }
  }
}

const isName = Compile(Name)
const common = { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } as const

/** The names of all commands. */
export const commandNames = Object.keys(commands)

/** An outcome when nothing needs to be opened: help, an unknown command, bad arguments (exit 2); else null. */
export function checkCommand (name: string, args: string[]): CommandOutcome | null {
  const command = commands[name]
  if (command === undefined) return { exitCode: 2, stdout: '', stderr: `Unknown command ${JSON.stringify(name)}. There are: ${commandNames.join(', ')}` }
  try {
    const { values, positionals } = parse(command, args)
    if (values.help === true) return { exitCode: 0, stdout: command.help, stderr: '' }
    const { files = [] } = command
    if (positionals.length !== files.length) return { exitCode: 2, stdout: '', stderr: `Expected ${files.join(' ')}, one file each.\n\n${command.help}` }
    const problem = command.check?.(values as Flags) ?? null
    return problem === null ? null : { exitCode: 2, stdout: '', stderr: `${problem}\n\n${command.help}` }
  } catch (error) {
    return { exitCode: 2, stdout: '', stderr: `${(error as Error).message}\n\n${command.help}` }
  }
}

/** `args` with the files they name as absolute paths, for a server that runs in another folder. */
export function withAbsolutePaths (name: string, args: string[]): string[] {
  const command = commands[name]
  if (command?.files === undefined) return args
  const at = new Set(parse(command, args).tokens.flatMap(token => token.kind === 'positional' ? [token.index] : []))
  return args.map((arg, i) => at.has(i) ? resolve(arg) : arg)
}

function parse ({ options, files }: Command, args: string[]) {
  return parseArgs({ args, options: { ...common, ...options }, strict: true, allowPositionals: files !== undefined, tokens: true })
}

/** Runs a command; exit 0 done, 1 failed, 2 bad arguments. */
export async function runCommand (parts: CommandParts, name: string, args: string[]): Promise<CommandOutcome> {
  const checked = checkCommand(name, args)
  if (checked !== null) return checked
  const command = commands[name] as Command
  const { values, positionals } = parse(command, args)
  const { json, text, failed = false } = await command.run(parts, values as Flags, positionals)
  if (values.json === true) return { exitCode: failed ? 1 : 0, stdout: JSON.stringify(json), stderr: '' }
  return failed ? { exitCode: 1, stdout: '', stderr: text } : { exitCode: 0, stdout: text, stderr: '' }
}
