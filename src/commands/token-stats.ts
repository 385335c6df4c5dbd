import { defineCommand } from './command.js'

const show = (figure: number | null) => figure === null ? 'not counted' : String(figure)

export const tokenStats = defineCommand({
  summary: 'Prints figures of tokens and cache.',
  details: `What the database can't count within two seconds is left out. Hit ratio and trust are a server's own: they are known where a running
    server carries the command out, and from GET /v1/admin/token-stats.`,
  options: {},
  async run ({ tokenStats }) {
    const { database, cache } = await tokenStats()
    const kinds = Object.entries(database.byKind ?? {}).map(([kind, { active, expired, revoked }]) =>
      `  ${kind}: ${active} active, ${expired} expired, ${revoked} revoked`)
    const text = [
      `Tokens: ${show(database.total)}${database.exact ? '' : ' (estimated)'}; ` +
        `${show(database.active)} active, ${show(database.expired)} expired, ${show(database.revoked)} revoked, ` +
        `${show(database.neverUsed)} never used`,
      ...kinds,
      `Sessions: ${show(database.sessions?.active ?? null)} active`,
      database.users === null
        ? `Users: ${show(null)}`
        : `Users: ${database.users.total}, ${database.users.disabled} of them disabled, ${database.users.unverified} unverified, ${database.users.admins} administrators`,
      `Refresh tokens used twice in 30 days: ${show(database.refreshTokenReuses)}`,
      `Cache: generation ${cache.generation}, ${cache.openSettlements} settlements open, ${cache.registered
        ? 'a server registered'
        : 'no server registered'}`,
      ...cache.keys === null
        ? []
        : [`  ${cache.keys} keys${cache.memoryBytes === null ? '' : `, ${cache.memoryBytes} bytes in the whole server`}`],
      ...cache.hitRatio === null
        ? []
        : [`  ${cache.trusted ? 'trusted' : `not trusted: ${cache.state}`}, hit ratio ${cache.hitRatio} of ${cache.lookUps} look-ups`]
    ].join('\n')
    return { json: { database, cache }, text }
  }
})
