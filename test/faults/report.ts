import { kinds, type Stats, type Violation } from './oracle.js'

/** A claim about a fault, and whether it held. */
export interface Check { fault: string, claim: string, held: boolean }

const columns = ['fault', 'reads', 'hits', 'revoked', 'after a hit', 'slowest', 'unavailable', 'trust back', 'verdict'] as const
const widths = [28, 7, 6, 8, 12, 9, 12, 11, 8]

export const header = columns.map((name, i) => name.padEnd(widths[i]!)).join('').trimEnd()

/** The cache must be trusted again this long after a fault has ended. */
export const trustWithinMs = 20_000
const hitBeforeShare = 0.8

/** The claims that hold at any time. */
export function violationsOf (fault: string, { violations: { accepted, refused, answer } }: Stats): Check[] {
  return [
    { claim: 'no token is accepted after its revocation', held: accepted === 0 },
    { claim: 'no live token is refused', held: refused === 0 },
    { claim: 'no answer but 200, 201, 204, 401, 429 and 503', held: answer === 0 }
  ].map(check => ({ fault, ...check }))
}

/** All claims on one fault. */
export function checksOf (fault: string, stats: Stats): Check[] {
  return [
    ...violationsOf(fault, stats),
    { claim: 'the cache is trusted within 20 s after the fault', held: stats.trustBackMs !== null },
    { claim: 'the cache answers before the fault', held: !stats.cold },
    { claim: 'tokens were revoked', held: stats.revoked > 0 },
    { claim: 'at least 80% of them had a cache hit before', held: stats.revokedAfterHit >= stats.revoked * hitBeforeShare }
  ].map(check => ({ fault, ...check }))
}

export function row (fault: string, stats: Stats): string {
  const held = checksOf(fault, stats).every(check => check.held)
  const percent = (part: number, whole: number) => whole === 0 ? '-' : `${Math.round(part / whole * 100)}%`
  return [
    fault, String(stats.reads), percent(stats.hits, stats.accepted), String(stats.revoked), percent(stats.revokedAfterHit, stats.revoked),
    `${Math.round(stats.slowestMs)} ms`, `${(stats.unavailable.size / 10).toFixed(1)} s`,
    stats.trustBackMs === null ? 'never' : `${(stats.trustBackMs / 1000).toFixed(1)} s`, held ? 'passed' : 'FAILED'
  ].map((cell, i) => cell.padEnd(widths[i]!)).join('').trimEnd()
}

/** One line of totals over all faults. */
export function totals (all: Iterable<Stats>): string {
  const sum = {
    reads: 0,
    accepted: 0,
    hits: 0,
    revoked: 0,
    revokedAfterHit: 0,
    unresolved: 0,
    deaths: 0,
    slowestMs: 0,
    dead: 0,
    refused: 0
  }
  const unavailable = new Set<number>()
  for (const stats of all) {
    for (const name of [
      'reads',
      'accepted',
      'hits',
      'revoked',
      'revokedAfterHit',
      'unresolved',
      'deaths'
    ] as const) sum[name] += stats[name]
    sum.slowestMs = Math.max(sum.slowestMs, stats.slowestMs)
    sum.dead += stats.violations.accepted
    sum.refused += stats.violations.refused
    for (const bucket of stats.unavailable) unavailable.add(bucket)
  }
  const percent = (part: number, whole: number) => `${(whole === 0 ? 0 : part / whole * 100).toFixed(1)}%`
  return `${sum.reads} reads, ${percent(
    sum.hits,
    sum.accepted
  )} of the accepted from the cache; ${sum.revoked} tokens revoked, ${percent(
    sum.revokedAfterHit,
    sum.revoked
  )} of them after a cache hit; ` +
    `slowest revocation ${Math.round(sum.slowestMs)} ms; 503 in ${(unavailable.size / 10).toFixed(1)} s; ${sum.unresolved} revocations ended without 2xx; ` +
    `${sum.deaths} APIs killed during a revocation; ${sum.dead} dead tokens accepted, ${sum.refused} live tokens refused`
}

const exchanges = ['refreshes', 'parallel', 'repeats', 'reuses', 'surplus', 'late'] as const

/** Totals by kind of token, and of the uses of refresh tokens. */
export function totalsByKind (all: Stats[]): string {
  const lines = kinds.map(kind => {
    const sum = (name: keyof Stats['kinds'][typeof kind]) => all.reduce((total, stats) => total + stats.kinds[kind][name], 0)
    return `${kind}: ${sum('reads')} reads, ${sum('accepted')} accepted; ${sum('revoked')} revoked, ${sum('revokedAfterHit')} of them after a cache hit`
  })
  const [refreshes, parallel, repeats, reuses, surplus, late] = exchanges.map(name => all.reduce((total, stats) => total + stats[name], 0))
  return [
    ...lines,
    `${refreshes} refreshes, ${parallel} of them twice at once, ${repeats} repeated within the grace; ${reuses} reuses ended a session; ${surplus} access tokens ended by a refresh; ${late} refresh tokens presented after their session had ended`
  ].join('\n')
}

/** The claims on a whole run: each kind of token was revoked, and refresh tokens were used in each way. */
export function checksOfAll (all: Stats[]): Check[] {
  return [
    ...kinds.map(kind => ({ claim: `tokens were revoked: ${kind}`, held: all.some(stats => stats.kinds[kind].revoked > 0) })),
    ...exchanges.map(name => ({ claim: `refresh tokens were tried: ${name}`, held: all.some(stats => stats[name] > 0) }))
  ].map(check => ({ fault: 'the whole run', ...check }))
}

/** A violation with its token's history, in the order of the answers. */
export function trace ({ fault, text, token }: Violation): string {
  return [`[${fault}] ${text}`, ...token === null ? [] : token.history.slice(-24).map(line => `    ${line}`)].join('\n')
}
