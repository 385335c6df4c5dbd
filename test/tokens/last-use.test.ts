import { randomUUID } from 'node:crypto'
import { mock } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createLastUse, flushEveryMs } from '../../src/tokens/last-use.js'
import type { AnyPrincipal } from '../../src/tokens/principal.js'
import { createTestClock } from '../fixtures/app.js'

/** Writes nowhere: `written` collects what would be written. Its timers are advanced by hand. */
function start (t: Test, intervalSeconds: number) {
  const clock = createTestClock()
  const written: Array<Map<string, number>> = []
  let held: string[] = []
  let failure: Error | null = null
  const touch = async (_table: string, used: Map<string, number>) => {
    if (failure !== null) throw failure
    written.push(new Map(used))
    return held
  }
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const lastUse = createLastUse({
    store: { touch, eraseSecrets: async () => {} },
    clock,
    intervalSeconds,
    graceSeconds: 30,
    log: { warn () {} }
  })
  lastUse.start()
  return {
    written,
    clock,
    use: (id: string) => lastUse.note({ session: { id }, token: {} } as AnyPrincipal),
    /** Advances by `ms`; returns how many were written by each flush meanwhile. */
    async pass (ms: number): Promise<number[]> {
      const from = written.length
      for (let left = ms; left > 0; left -= flushEveryMs) {
        clock.advance(flushEveryMs)
        mock.timers.tick(flushEveryMs)
        await turn()
      }
      return written.slice(from).map(used => used.size)
    },
    stop: lastUse.stop,
    hold (ids: string[]) { held = ids },
    fail (error: Error | null) { failure = error }
  }
}

t.test('by default everything that was used is written by the next flush', async t => {
  const { use, pass } = start(t, 5)
  const ids = Array.from({ length: 100 }, () => randomUUID())
  for (const id of ids) use(id)
  t.same(await pass(5_000), [100])
  t.same(await pass(5_000), [], 'and once')
})

t.test('within a longer interval each session is written once, however often it is used, and each flush writes its share', async t => {
  const { use, pass, written, clock } = start(t, 60)
  const ids = Array.from({ length: 1_200 }, () => randomUUID())
  const began = clock.now()
  for (let second = 0; second < 60; second += 5) {
    for (const id of ids) use(id)
    await pass(5_000)
  }
  t.equal(written.length, 12)
  t.same([...written.flatMap(used => [...used.keys()])].sort(), [...ids].sort())
  for (const used of written) t.ok(used.size > 50 && used.size < 160, `${used.size} of 1,200`)
  for (const [i, used] of written.entries()) t.ok([...used.values()].every(at => at >= began + i * 5_000), 'with the latest use')
})

t.test('a use that could not be written keeps its turn, and stopping writes all', async t => {
  const { use, pass, written, hold, fail, stop } = start(t, 60)
  const ids = Array.from({ length: 240 }, () => randomUUID())
  for (const id of ids) use(id)
  fail(new Error('the database is gone'))
  t.same(await pass(60_000), [])
  fail(null)
  hold(ids.slice(0, 1))
  const sizes = await pass(60_000)
  t.equal(sizes.reduce((sum, size) => sum + size, 0), 240)
  hold([])
  for (const id of ids) use(id)
  written.length = 0
  await stop()
  t.same([...written.flatMap(used => [...used.keys()])].sort(), [...ids].sort())
})
