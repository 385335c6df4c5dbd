import type { AdminService } from '../admin/service.js'
import type { TokenStats } from '../admin/stats.js'
import type { ConfigCheck } from '../config/check.js'
import type { Prune } from '../retention/prune.js'
import type { ServiceTokenService } from '../service-tokens/service.js'
import type { SessionService } from '../sessions/service.js'
import type { OnProgress } from '../shared/progress.js'
import type { TokenService } from '../tokens/service.js'
import type { UserImport } from '../users/import.js'

/** What commands use of the services. */
export interface CommandServices {
  prune: Prune
  importUsers: UserImport
  admin: AdminService
  sessions: Pick<SessionService, 'list'>
  tokens: Pick<TokenService, 'listPersonal'>
  serviceTokens: Pick<ServiceTokenService, 'create' | 'list' | 'endByOperator'>
  tokenStats: TokenStats
}

/** What commands do that need no services. */
export interface LocalActions {
  /** Brings the configured database to the newest schema, and creates it where it is embedded. */
  migrate (): Promise<void>
  /** What a server would make of the environment. */
  checkConfig (): ConfigCheck
}

/** One option of a command: how it is given, checked and explained. */
export interface Option {
  type: 'boolean' | 'string'
  /** What stands for the value in `--help`, such as ADDRESS. */
  value?: string
  help: string
  required?: boolean
  /** What is wrong with the value, or null. */
  check? (text: string): string | null
}

type ValueOf<One extends Option> = Option extends One ? string
  | boolean
  | undefined : One['type'] extends 'boolean' ? boolean : One extends { required: true } ? string : string | undefined

/** The options as given: a flag that wasn't is false, a text that wasn't is undefined. */
export type Values<Options extends Record<string, Option>> = { [Name in keyof Options]: ValueOf<Options[Name]> }

/** What comes with a command beside its arguments: the password where it reads one, and with --progress what hears of it. */
export interface Extras { password?: string | undefined, onProgress?: OnProgress | undefined }

/** What a command is run with: its options, and the files it was given as absolute paths. */
export interface Input<Options extends Record<string, Option> = Record<string, Option>> extends Extras {
  values: Values<Options>
  files: string[]
}

/** What a command has to say: `json` with --json, else `text`; `failed` ends it with 1. */
export interface Report { json: unknown, text: string, failed?: boolean }

interface Description<Options extends Record<string, Option>> {
  /** One line for the list of commands. */
  summary: string
  /** What else `--help` has to say. */
  details?: string
  options: Options
  /** How the options go together, where the usage line can't say so by itself. */
  usage?: string
  /** The names of the files that have to follow. */
  files?: string[]
  /** What is wrong with the options together, or null. */
  check? (values: Values<Options>): string | null
  /** What is asked before something that can't be undone. */
  question? (values: Values<Options>): string
  /** Whether a password is read from the standard input: as an argument it would show in the process list and the shell's history. */
  readsPassword? (values: Values<Options>): boolean
}

/** A command that works on the services: those of a running server in embedded mode, else its own process's. */
export interface ServiceCommand<Options extends Record<string, Option> = Record<string, Option>> extends Description<Options> {
  run (services: CommandServices, input: Input<Options>): Promise<Report>
}

/** A command that needs no services: always carried out by its own process. */
export interface LocalCommand<Options extends Record<string, Option> = Record<string, Option>> extends Description<Options> {
  runLocally (local: LocalActions, input: Input<Options>): Promise<Report>
}

/** One of the operator's commands. Every command also has --json and --help, and each with a question has --yes. */
export type Command = ServiceCommand | LocalCommand

/** A command on services, its values typed by its own options. */
export function defineCommand<const Options extends Record<string, Option>> (command: ServiceCommand<Options>): Command {
  return command as unknown as ServiceCommand
}

/** The same for one that needs no services. */
export function defineLocalCommand<const Options extends Record<string, Option>> (command: LocalCommand<Options>): Command {
  return command as unknown as LocalCommand
}

/** The option that names an account. */
export const emailOption = { type: 'string', value: 'ADDRESS', required: true, help: 'the address of the account' } as const

/** The option of long work. */
export const progressOption = { type: 'boolean', help: 'show on stderr how far it has come' } as const

/** Text that a client has chosen, for a terminal: nothing in it moves the cursor or turns the line around. */
export const shown = (text: string): string => text.replace(/\p{C}/gu, '?')

/** The account of `email`. Throws where there is none. */
export async function requireAccount ({ admin }: Pick<CommandServices, 'admin'>, email: string) {
  const user = await admin.findByEmail(email)
  if (user === null) throw new Error('There is no account with this address.')
  return user
}
