import type { Command, Option } from './command.js'

const width = 100

/** The options of every command. */
export const commonOptions = {
  json: { type: 'boolean', help: 'print the result as JSON' },
  help: { type: 'boolean', help: 'print this' }
} as const
export const yesOption = { type: 'boolean', help: "don't ask" } as const

/** All options of a command, the common ones included. */
export function optionsOf ({ options, question }: Command): Record<string, Option> {
  return { ...options, ...question === undefined ? {} : { yes: yesOption }, ...commonOptions }
}

/** What `--help` prints. */
export function helpOf (name: string, command: Command): string {
  const { summary, details, usage = usageOf(command), files = [] } = command
  const rows = Object.entries(optionsOf(command)).map(([option, { value, help }]) => [spell(option, value), help] as const)
  const column = Math.max(...rows.map(([left]) => left.length)) + 4
  const options = rows.map(([left, help]) => `  ${left}`.padEnd(column) + wrap(help, width - column).join(`\n${' '.repeat(column)}`))
  const line = [
    'Usage: npm run',
    name,
    '--',
    usage,
    ...command.question === undefined ? [] : ['[--yes]'],
    '[--json]',
    ...files
  ].filter(part =>
    part !== '')
  return [line.join(' '), '', ...wrap([summary, details].filter(text => text !== undefined).join(' '), width), '', ...options].join('\n')
}

/** The list of all commands. */
export function listOf (commands: Record<string, Command>): string {
  const column = Math.max(...Object.keys(commands).map(name => name.length)) + 10
  const lines = Object.entries(commands).map(([name, { summary }]) => `  npm run ${name}`.padEnd(column + 2) + summary)
  return ['Commands; each explains itself with `-- --help`:', ...lines].join('\n')
}

function usageOf ({ options }: Command): string {
  return Object.entries(options).map(([name, { value, required }]) => required === true ? spell(name, value) : `[${spell(name, value)}]`)
    .join(' ')
}

const spell = (name: string, value: string | undefined): string => value === undefined ? `--${name}` : `--${name} ${value}`

/** `text` in lines of at most `columns` characters, if no word is longer. */
function wrap (text: string, columns: number): string[] {
  const lines: string[] = []
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1)
    if (last === undefined || last.length + 1 + word.length > columns) lines.push(word)
    else lines[lines.length - 1] = `${last} ${word}`
  }
  return lines
}
