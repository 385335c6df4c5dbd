import { defineCommand, progressOption } from './command.js'

export const pruneTokens = defineCommand({
  summary: 'Deletes what has long ended, as the schedule does.',
  details: `Tokens and sessions that expired or were revoked longer ago than PRUNE_RETENTION, events older than AUDIT_RETENTION, counts of failed logins
    that have not changed for 90 days, expired mail tokens and unconfirmed registrations.`,
  options: { 'dry-run': { type: 'boolean', help: 'count them, delete nothing' }, progress: progressOption },
  async run ({ prune }, { values, onProgress }) {
    const report = await prune({ dryRun: values['dry-run'], onProgress })
    if (report.skipped) return { json: report, text: 'Another instance is pruning: nothing to do here.' }
    const text = `${report.dryRun
      ? 'Would delete'
      : 'Deleted'} ${report.tokens} tokens and ${report.sessions} sessions that ended before ${report.before}, ` +
      `${report.events} old events, ${report.failures} old counts of failed logins, ${report.mailTokens} expired tokens of mails ` +
      `and ${report.registrations} unconfirmed registrations.`
    return { json: report, text }
  }
})
