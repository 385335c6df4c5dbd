import { parseArgs } from 'node:util'
import type { Sql } from 'postgres'
import { readArguments } from '../../test/fixtures/arguments.js'
import { figure, table } from '../format.js'
import { growthAtMost, pruneSlowsAtMost } from '../goals.js'
import { describeMachine } from '../machine.js'
import { withMachinery } from '../machinery.js'
import { positive } from '../options.js'
import { median, shuffled } from '../statistics.js'
import { openSite, type Site, samples, type Work } from './site.js'

/** A shorter prune overlaps too few requests for a p99. */
const measurableMs = 1_000

const usage = `npm run bench:scale -- [--rows N,…] [--rounds N]
  --rows N,…   tokens in the table, one site each (10000,1000000,10000000)
  --rounds N   measured rounds, after one to warm up (5)`

/** Throws a RangeError or TypeError that names the bad argument. */
function readOptions (): { sizes: number[], rounds: number } {
  const { values } = parseArgs({
    options: { rows: { type: 'string', default: '10000,1000000,10000000' }, rounds: { type: 'string', default: '5' } }
  })
  const sizes = values.rows.split(',').map(text => positive('rows', text)).sort((one, other) => one - other)
  const rounds = positive('rounds', values.rounds)
  const people = samples.flushed + (rounds + 1) * (samples.logins + samples.logouts)
  if ((sizes[0] ?? 0) / 4 < people) throw new RangeError(`--rows: with ${rounds} rounds the smallest has to be ${people * 4} or more`)
  return { sizes, rounds }
}

/** `npm run bench:scale`: the cost of the same requests as the tables grow, and while a tenth of the rows is pruned. */
async function main ({ sizes, rounds }: ReturnType<typeof readOptions>): Promise<void> {
  await withMachinery(async machinery => {
    console.log(describeMachine(machinery.cores).join('\n'))
    const redis = await machinery.redis()
    const sites: Site[] = []
    for (const rows of sizes) {
      const site = await openSite(machinery, redis, rows, rounds + 1)
      console.log(`${rows.toLocaleString('en')} tokens made in ${(site.filledInMs / 1000).toFixed(1)} s`)
      sites.push(site)
    }
    await printCosts(sites, rounds)
    for (const site of sites) await printSizes(site)
    await printPrunes(sites)
  })
}

/** In rounds, so that a machine that is slow for a while affects all sizes; the first warms up. */
async function printCosts (sites: Site[], rounds: number): Promise<void> {
  const found = new Map(sites.map(site => [site, new Map<Work, number[]>()]))
  for (let round = 0; round <= rounds; round++) {
    for (const site of shuffled(sites)) {
      for (const [work, ms] of await site.measure()) {
        const times = found.get(site) as Map<Work, number[]>
        times.set(work, round === 0 ? [] : [...times.get(work) ?? [], ms])
      }
    }
  }
  const [smallest, ...larger] = sites as [Site, ...Site[]]
  const works = [...(found.get(smallest) as Map<Work, number[]>).keys()]
  const cost = (site: Site, work: Work) => median(found.get(site)?.get(work) ?? [])
  console.log()
  console.log(table(
    [
      'median, ms',
      ...sites.map(({ rows }) => rows.toLocaleString('en')),
      ...larger.map(({ rows }) => `${rows.toLocaleString('en')}: of the smallest`)
    ],
    works.map(work =>
      [
        work,
        ...sites.map(site => figure(cost(site, work))),
        ...larger.map(site => verdict(cost(site, work) / cost(smallest, work), growthAtMost))
      ])
  ))
}

async function printSizes ({ rows, sql, bytesInRedis }: Site): Promise<void> {
  const sizes = await relationSizes(sql)
  console.log(`\n${rows.toLocaleString('en')} tokens: ${figure(await bytesInRedis())} bytes a cached token in Redis; in PostgreSQL`)
  console.log(table(['', 'MiB', 'bytes a token'], sizes.map(({ name, bytes }) => [name, figure(bytes / 2 ** 20), figure(bytes / rows)])))
}

async function printPrunes (sites: Site[]): Promise<void> {
  const lines: string[][] = []
  let smallest: number | null = null
  for (const site of sites) {
    const { before, during, rows, ms } = await site.prune(5)
    const each = ms / rows * 1000
    smallest ??= each
    lines.push([
      `${site.rows.toLocaleString('en')} tokens`, rows.toLocaleString('en'), (ms / 1000).toFixed(2), `${figure(each)} (${verdict(
        each / smallest,
        growthAtMost
      )})`,
      figure(before), ms < measurableMs ? 'too short to tell' : `${figure(during)} (${verdict(during / before, pruneSlowsAtMost)})`
    ])
  }
  console.log()
  console.log(table(['prune', 'rows deleted', 's', 'µs a row (of the smallest)', 'p99 of live requests before, ms', 'during'], lines))
}

async function relationSizes (sql: Sql): Promise<Array<{ name: string, bytes: number }>> {
  const rows = await sql<Array<{ name: string, bytes: string }>>`
    select relname as name, pg_relation_size(oid) as bytes from pg_class where relname in ('users', 'sessions', 'tokens')
    union all select indexrelid::regclass::text, pg_relation_size(indexrelid) from pg_index where indrelid::regclass::text in ('users', 'sessions', 'tokens') order by 1`
  return rows.map(({ name, bytes }) => ({ name, bytes: Number(bytes) }))
}

function verdict (ratio: number, most: number): string {
  return `${ratio.toFixed(2)} ${ratio <= most ? 'met' : `NOT MET: at most ${most}`}`
}

try {
  await main(readArguments(usage, readOptions))
} catch (error) {
  console.error(error)
  process.exitCode = 1
}
