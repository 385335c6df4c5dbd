import type { AdminService } from '../admin/service.js'
import type { TokenStats } from '../admin/stats.js'
import type { Prune } from '../retention/prune.js'
import type { ServiceTokenService } from '../service-tokens/service.js'
import type { UserImport } from '../users/import.js'

/** What the commands work on. */
export interface CommandParts { prune: Prune, importUsers: UserImport, admin: AdminService, serviceTokens: Pick<ServiceTokenService, 'create'>, tokenStats: TokenStats }

/** The options as given. */
export type Values = Record<string, string | boolean | undefined>

/** One of the operator's commands. `json` and `help` every one has, and `yes` each that asks a question. */
export interface Command {
  help: string
  options: Record<string, { type: 'boolean' | 'string' }>
  /** Names of the files that have to follow. */
  files?: string[]
  /** What is wrong with the options, or null. */
  check? (values: Values): string | null
  /** What is asked before something that can't be undone. */
  question? (values: Values): string
  /** Whether a password is read from the standard input: an argument would be in the process list and the shell's history. */
  readsPassword? (values: Values): boolean
  run (parts: CommandParts, values: Values, files: string[], password: string | undefined): Promise<{ json: unknown, text: string, failed?: boolean }>
}

/** The option `name` as text; undefined when it wasn't given. */
export const textOf = (values: Values, name: string): string | undefined => typeof values[name] === 'string' ? values[name] : undefined

/** The account of --email. Throws where there is none. */
export async function requireAccount ({ admin }: Pick<CommandParts, 'admin'>, values: Values) {
  const user = await admin.findByEmail(textOf(values, 'email') ?? '')
  if (user === null) throw new Error('There is no account with this address.')
  return user
}
