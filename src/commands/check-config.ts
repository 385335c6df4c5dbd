import type { LocalCommand } from './command.js'

export const checkConfig: LocalCommand = {
  summary: 'Checks the environment as a server does when it starts, and shows what it would use.',
  details: 'Passwords are masked. It connects to nothing. It fails where a server would not start.',
  options: {},
  async runLocally ({ checkConfig }) {
    const { problems, warnings, uses, variables } = checkConfig()
    const json = { valid: problems.length === 0, problems, warnings, uses, variables }
    if (problems.length > 0) {
      return { json, text: ['A server would not start:', ...problems.map(problem => `  ${problem}`)].join('\n'), failed: true }
    }
    const column = Math.max(...variables.map(({ name }) => name.length)) + 2
    const origins = { default: ' (default)', environment: '', file: ' (from its file)' }
    const text = [
      `Database: ${uses?.database}`,
      `Cache: ${uses?.cache}`,
      `Mail: ${uses?.mail}`,
      ...warnings.length === 0 ? ['No warnings.'] : ['Warnings:', ...warnings.map(warning => `  ${warning}`)],
      'Variables:',
      ...variables.map(({ name, value, source }) => `  ${name.padEnd(column)}${value === null ? 'none' : `${value}${origins[source]}`}`)
    ].join('\n')
    return { json, text }
  }
}
