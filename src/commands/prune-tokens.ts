import type { Command } from './command.js'

export const pruneTokens: Command = {
  help: `Usage: npm run tokens:prune -- [--dry-run] [--json]

Deletes tokens and sessions that expired or were revoked longer ago than PRUNE_RETENTION, events older than AUDIT_RETENTION,
counts of failed logins that nobody has added to for 90 days, expired tokens of mails and registrations that nobody confirmed.
  --dry-run  count them, delete nothing
  --json     print the report as JSON`,
  options: { 'dry-run': { type: 'boolean' } },
  async run ({ prune }, values) {
    const report = await prune({ dryRun: values['dry-run'] === true })
    const text = report.skipped
      ? 'Another instance is pruning: nothing to do here.'
      : `${report.dryRun ? 'Would delete' : 'Deleted'} ${report.tokens} tokens and ${report.sessions} sessions that ended before ${report.before}, ${report.events} old events, ${report.failures} old counts of failed logins, ${report.mailTokens} expired tokens of mails and ${report.registrations} unconfirmed registrations.`
    return { json: report, text }
  }
}
