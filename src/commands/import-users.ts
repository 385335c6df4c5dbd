import type { Command } from './command.js'

export const importUsers: Command = {
  help: `Usage: npm run users:import -- [--dry-run] [--json] FILE

Makes an account of each line of FILE, or none at all: every bad line is named. A line is a JSON object with email and passwordHash
(bcrypt: $2a$, $2b$ or $2y$), and optionally name, emailVerifiedAt and createdAt. At its first login an account gets a hash of our own.
  --dry-run  look at every line, import nothing
  --json     print the report as JSON`,
  options: { 'dry-run': { type: 'boolean' } },
  files: ['FILE'],
  async run ({ importUsers }, values, [path = '']) {
    const report = await importUsers({ path, dryRun: values['dry-run'] === true })
    const { users, imported, dryRun, problems } = report
    if (problems.length === 0) return { json: report, text: dryRun ? `Would import ${users} users.` : `Imported ${imported} users.` }
    const lines = [`${dryRun ? 'Nothing would be' : 'Nothing was'} imported: ${problems.length} of ${users} lines are bad.`, ...problems.map(({ line, reason }) => `Line ${line}: ${reason}`)]
    return { json: report, text: lines.join('\n'), failed: true }
  }
}
