import type { Command } from './command.js'

const unknown = 'not counted'
const show = (figure: number | null) => figure === null ? unknown : String(figure)

export const tokenStats: Command = {
  help: `Usage: npm run tokens:stats -- [--json]

Figures of tokens and cache. What would take the database longer than two seconds to count is left out; hit ratio and trust are a
server's own, and known where a server carries the command out, or from GET /v1/admin/token-stats.
  --json  print them as JSON`,
  options: {},
  async run ({ tokenStats }) {
    const { database, cache } = await tokenStats()
    const kinds = Object.entries(database.byKind ?? {}).map(([kind, { active, expired, revoked }]) => `  ${kind}: ${active} active, ${expired} expired, ${revoked} revoked`)
    const text = [
      `Tokens: ${show(database.total)}${database.exact ? '' : ' (estimated)'}; ${show(database.active)} active, ${show(database.expired)} expired, ${show(database.revoked)} revoked, ${show(database.neverUsed)} never used`,
      ...kinds,
      `Sessions: ${show(database.sessions?.active ?? null)} active`,
      `Refresh tokens used twice in 30 days: ${show(database.refreshTokenReuses)}`,
      `Cache: generation ${cache.generation}, ${cache.openSettlements} settlements open, ${cache.registered ? 'a server registered' : 'no server registered'}`,
      ...cache.keys === null ? [] : [`  ${cache.keys} keys${cache.memoryBytes === null ? '' : `, ${cache.memoryBytes} bytes in the whole server`}`],
      ...cache.hitRatio === null ? [] : [`  ${cache.trusted ? 'trusted' : `not trusted: ${cache.state}`}, hit ratio ${cache.hitRatio} of ${cache.lookUps} look-ups`]
    ].join('\n')
    return { json: { database, cache }, text }
  }
}
