import { parseArgs } from 'node:util'
import type { CommandOutcome } from './edges/command-socket.js'
import type { Prune } from './tokens/prune.js'

/** What the commands work on. */
export interface CommandParts { prune: Prune }

interface Command {
  help: string
  options: Record<string, { type: 'boolean' }>
  run (parts: CommandParts, flags: Record<string, boolean | undefined>): Promise<{ json: unknown, text: string }>
}

const commands: Record<string, Command> = {
  'tokens:prune': {
    help: `Usage: npm run tokens:prune -- [--dry-run] [--json]

Deletes tokens and sessions that expired or were revoked longer ago than PRUNE_RETENTION.
  --dry-run  count them, delete nothing
  --json     print the report as JSON`,
    options: { 'dry-run': { type: 'boolean' } },
    async run ({ prune }, flags) {
      const report = await prune({ dryRun: flags['dry-run'] === true })
      const text = report.skipped
        ? 'Another instance is pruning: nothing to do here.'
        : `${report.dryRun ? 'Would delete' : 'Deleted'} ${report.tokens} tokens and ${report.sessions} sessions that ended before ${report.before}.`
      return { json: report, text }
    }
  }
}

const common = { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } as const

/** The names of all commands. */
export const commandNames = Object.keys(commands)

/** An outcome when nothing needs to be opened: help, an unknown command, bad arguments (exit 2); else null. */
export function checkCommand (name: string, args: string[]): CommandOutcome | null {
  const command = commands[name]
  if (command === undefined) return { exitCode: 2, stdout: '', stderr: `Unknown command ${JSON.stringify(name)}. There are: ${commandNames.join(', ')}` }
  try {
    const { values } = parseArgs({ args, options: { ...common, ...command.options }, strict: true, allowPositionals: false })
    return values.help === true ? { exitCode: 0, stdout: command.help, stderr: '' } : null
  } catch (error) {
    return { exitCode: 2, stdout: '', stderr: `${(error as Error).message}\n\n${command.help}` }
  }
}

/** Runs a command; exit 0 done, 1 failed, 2 bad arguments. */
export async function runCommand (parts: CommandParts, name: string, args: string[]): Promise<CommandOutcome> {
  const checked = checkCommand(name, args)
  if (checked !== null) return checked
  const command = commands[name] as Command
  const { values } = parseArgs({ args, options: { ...common, ...command.options }, strict: true })
  const { json, text } = await command.run(parts, values as Record<string, boolean | undefined>)
  return { exitCode: 0, stdout: values.json === true ? JSON.stringify(json) : text, stderr: '' }
}
