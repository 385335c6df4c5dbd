import { defineCommand, progressOption } from './command.js'

export const importUsers = defineCommand({
  summary: 'Creates an account for each line of a file, or none at all.',
  details: `A line is a JSON object with email and passwordHash (bcrypt: $2a$, $2b$ or $2y$), and optionally id (a UUID), name, role (user or admin),
    emailVerifiedAt and createdAt. Every bad line is named. At its first login an account gets a hash of our own.`,
  options: { 'dry-run': { type: 'boolean', help: 'check every line, import nothing' }, progress: progressOption },
  files: ['FILE'],
  async run ({ importUsers }, { values, files: [path = ''], onProgress }) {
    const report = await importUsers({ path, dryRun: values['dry-run'], onProgress })
    const { users, imported, dryRun, problems } = report
    if (problems.length === 0) return { json: report, text: dryRun ? `Would import ${users} users.` : `Imported ${imported} users.` }
    const lines = [
      `${dryRun ? 'Nothing would be' : 'Nothing was'} imported: ${problems.length} of ${users} lines are bad.`,
      ...problems.map(({ line, reason }) => `Line ${line}: ${reason}`)
    ]
    return { json: report, text: lines.join('\n'), failed: true }
  }
})
