import t from 'tap'
import type { Mutant } from './deployment.js'
import { removedRules } from './mutants.js'
import { named } from './named.js'
import { faultNames, type Played, type PlayOptions, play } from './plan.js'
import { createTally } from './watch.js'

/** The number of random schedules and their first seed; `SEED=17 SCHEDULES=1` replays one. `npm run test:slow` plays the next 900. */
const schedules = Number(process.env.SCHEDULES ?? 300)
const firstSeed = Number(process.env.SEED ?? 1)
const longestSearch = 400

t.test('the schedules forced by name', async t => {
  for (const [name, run] of Object.entries(named)) {
    t.test(name, async t => {
      const complaints = await run()
      if (complaints.length > 0) await run({}, lines => t.comment(lines.slice(-150).join('\n')))
      t.strictSame(complaints, [])
    })
  }
})

t.test('no random schedule breaks the promise', async t => {
  const tally = createTally()
  let [withFaults, registrations] = [0, 0]
  for (let seed = firstSeed; seed < firstSeed + schedules; seed++) {
    const played = await play({ seed, tally })
    if (played.faults.length > 0) withFaults++
    registrations += played.registrations
    if (played.violation !== null) {
      t.comment(await explain({ seed }))
      t.fail(`seed ${seed} (${played.faults.join(', ')}): ${played.violation}`)
      break
    }
  }
  t.comment(`${schedules} schedules from seed ${firstSeed}, ${withFaults} with faults, ${registrations} with a server registered:`, tally)
  if (schedules < 100) return
  // Otherwise the run would prove nothing.
  t.ok(tally.hits > tally.reads / 10, 'tokens were accepted from a cache')
  t.ok(tally.cachedBefore > tally.revocations * 0.4, 'what was revoked had been cached')
  t.ok(tally.refused < tally.revocations / 4, 'most revocations were answered 2xx')
})

t.test('each kind of fault alone leaves the promise whole', async t => {
  for (const fault of faultNames) {
    const tally = createTally()
    for (let seed = 1; seed <= Math.min(20, schedules); seed++) {
      const played = await play({ seed, only: [fault], tally })
      if (played.violation !== null) t.comment(await explain({ seed, only: [fault] }))
      t.equal(played.violation, null, `${fault}, seed ${seed}`)
    }
    t.ok(tally.hits > 0, `${fault}: tokens were accepted from a cache`)
  }
})

t.test('a seed replays its schedule exactly', async t => {
  const anonymous = ({ lines }: Played) => lines.map(line => line.replace(/\b(of|revocation of) [0-9a-f]{4}\b/g, '$1 a token'))
  for (const seed of [3, 14, 159]) {
    const [one, other] = [await play({ seed, trace: true }), await play({ seed, trace: true })]
    t.ok(one.lines.length > 200)
    t.strictSame(anonymous(one), anonymous(other), `seed ${seed}`)
  }
})

t.test('without a rule, the promise is broken', async t => {
  for (const { rule, shownBy, mutant } of removedRules) {
    t.test(`without: ${rule}`, async t => {
      if (typeof shownBy === 'string') {
        const [complaint] = await named[shownBy](mutant)
        t.ok(complaint, `caught by "${shownBy}"`)
        t.comment(complaint)
        return
      }
      const found = await search(mutant, shownBy)
      t.ok(found, `caught by a random schedule (${shownBy.join(', ') || 'without faults'})`)
      if (found !== null) t.comment(`seed ${found.seed}: ${found.violation}`)
    })
  }
})

async function search (mutant: Mutant, only: NonNullable<PlayOptions['only']>): Promise<Played | null> {
  for (let seed = 1; seed <= longestSearch; seed++) {
    const played = await play({ seed, only, mutant })
    if (played.violation !== null) return played
  }
  return null
}

/** A failing schedule's plan, reduced to the actions it needs to fail, and the end of its trace. */
async function explain (options: PlayOptions): Promise<string> {
  const without = new Set<number>()
  const { plan } = await play(options)
  for (const place of plan.keys()) {
    without.add(place)
    if ((await play({ ...options, without })).violation === null) without.delete(place)
  }
  const { lines, violation } = await play({ ...options, without, trace: true })
  return [
    `replay: SEED=${options.seed} SCHEDULES=1`,
    ...plan.filter((_, place) => !without.has(place)),
    ...lines.slice(-150),
    violation
  ].join('\n')
}
