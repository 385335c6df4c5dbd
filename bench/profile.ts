import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createClient, eachOf } from './client.js'
import { table } from './format.js'
import { createSeeder, startLatchkey } from './latchkey.js'
import { bestGenerator, createLoad, writeHeaders } from './load.js'
import { withMachinery } from './machinery.js'

interface Profile {
  nodes: Array<{ id: number, callFrame: { functionName: string, url: string, lineNumber: number } }>
  /** By the machine's monotonic clock, in microseconds. */
  startTime: number
  samples: number[]
  timeDeltas: number[]
}

/**
 * `npx tsx bench/profile.ts [seconds] [cached | many | made-up | redis-dead]`; `many` takes 100,000 tokens in turn: where the time of GET
 * /v1/me goes, by function and by package, without the pauses.
 */
await withMachinery(async machinery => {
  const [seconds = '5', which = 'cached'] = process.argv.slice(2)
  const databaseUrl = await machinery.database()
  const redis = await machinery.redis()
  const seeder = await createSeeder(machinery, databaseUrl)
  const profiles = join(machinery.folder, 'profiles')
  const instance = await startLatchkey(
    machinery,
    {
      databaseUrl,
      redisUrl: redis.url,
      core: machinery.cores.server,
      nodeArgs: ['--cpu-prof', '--cpu-prof-interval', '200', '--cpu-prof-dir', profiles]
    }
  )
  const callers = await seeder.seed(which === 'many' ? 100_000 : 256)
  const client = createClient(instance.base, 16)
  await eachOf(callers, 16, async ({ token }) => { await client.expect(200, 'GET', '/v1/me', { token }) })
  client.close()
  if (which === 'redis-dead') await redis.kill()
  const expected = which === 'made-up' ? 401 : 200
  const headersFile = writeHeaders(
    machinery,
    'profile',
    callers.map(({ token }) => `Authorization: Bearer ${which === 'made-up' ? `lk_${'x'.repeat(50)}` : token}`)
  )
  const loadedFrom = Number(process.hrtime.bigint() / 1_000n)
  const { perSecond } = await createLoad(machinery, bestGenerator())(
    { url: `${instance.base}/v1/me`, headersFile, expected },
    64,
    Number(seconds)
  )
  const loadedUntil = Number(process.hrtime.bigint() / 1_000n)
  await instance.stop()

  const { nodes, startTime, samples, timeDeltas } = JSON.parse(readFileSync(
    join(profiles, readdirSync(profiles)[0] as string),
    'utf8'
  )) as Profile
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]))
  const byFunction = new Map<string, number>()
  const byPackage = new Map<string, number>()
  let total = 0
  let at = startTime
  samples.forEach((id, i) => {
    const { functionName, url, lineNumber } = frames.get(id) as Profile['nodes'][0]['callFrame']
    const microseconds = timeDeltas[i] as number
    at += microseconds
    if (functionName === '(idle)' || at < loadedFrom || at > loadedUntil) return
    total += microseconds
    const place = url.replace(/^.*node_modules\/((?:@[^/]+\/)?[^/]+).*\/([^/]+)$/, '$1 $2').replace(/^file:\/\/.*\/dist\//, '')
    add(byFunction, `${functionName || '(anonymous)'} ${place}:${lineNumber + 1}`, microseconds)
    add(
      byPackage,
      url === '' ? functionName : url.startsWith('node:') ? 'node' : /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? place,
      microseconds
    )
  })
  const rows = (map: Map<string, number>, most: number) => [...map].sort((one, other) => other[1] - one[1]).slice(0, most)
    .map(([name, microseconds]) => [`${(microseconds / total * 100).toFixed(1)} %`, name])
  console.log(`${Math.round(perSecond)} requests/s while profiled`)
  console.log(table(['self', 'package or file'], rows(byPackage, 30)))
  console.log()
  console.log(table(['self', 'function'], rows(byFunction, 130)))
})

function add (map: Map<string, number>, name: string, microseconds: number): void {
  map.set(name, (map.get(name) ?? 0) + microseconds)
}
