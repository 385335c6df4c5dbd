import t from 'tap'
import { createHintCounters } from '../../src/edge-hints/counters.js'
import type { Hint } from '../../src/edge-hints/hint.js'
import { WriteError, type WriteHints, type Written } from '../../src/edge-hints/upstash.js'
import { createHintWriter } from '../../src/edge-hints/writer.js'
import { nextEventLoopTurn } from '../../src/shared/event-loop.js'
import { sessionDataHash, TokenHash } from '../../src/tokens/token.js'
import { becomesTrue, createTestClock, patienceMs } from '../fixtures/app.js'

const hashOf = (i: number) => new TokenHash(i.toString(16).padStart(64, '0'))

/** A writer over an Upstash that answers as told: by default that all was written. */
function startWriter (answer: (hints: Hint[]) => Promise<Written[]> | Written[] = hints => hints.map(() => null)) {
  const counters = createHintCounters()
  const clock = createTestClock()
  const sent: Hint[][] = []
  const log: string[] = []
  const write: WriteHints = async hints => {
    sent.push(hints)
    return await answer(hints)
  }
  const note = (fields: object, text: string) => { log.push(`${JSON.stringify(fields)} ${text}`) }
  const writer = createHintWriter({ write, keyPrefix: 'p:', ttlSeconds: 30, clock, counters, log: { info: note, warn: note } })
  const live = (i: number, { askedAt = clock.now(), endsAt = Number.MAX_SAFE_INTEGER } = {}) => writer.live(hashOf(i), { sub: `${i}` }, { askedAt, endsAt })
  /** Resolves when nothing waits any more. */
  const settled = async () => {
    for (let i = 0; i < 20; i++) await nextEventLoopTurn()
  }
  return { writer, counters, clock, sent, log, live, settled, values: () => sent.map(hints => hints.map(({ value }) => value.replace(/^\{.*/, 'live'))) }
}

t.test('what a turn brings travels in one request; the same hint is written once in EDGE_TTL', async t => {
  const { live, sent, settled, clock, counters } = startWriter()
  for (const i of [1, 2, 1, 3]) live(i)
  await settled()
  t.strictSame(sent.map(hints => hints.map(({ key }) => key)), [[1, 2, 3].map(i => `p:hint:${hashOf(i).hex()}`)])
  live(1)
  await settled()
  t.equal(sent.length, 1)
  t.match(counters, { written: 3, dropped: 0 })
  const [first] = sent[0] ?? []
  t.match(JSON.parse(first?.value ?? ''), { hash: hashOf(1).hex(), until: first?.until, answer: { sub: '1' } })
  t.ok((first?.until ?? 0) > clock.now() + 20_000)
})

t.test('a hint counts from when the token was looked up, and ends with it; what is over by then is not written', async t => {
  const { live, sent, settled, clock, counters } = startWriter()
  const now = clock.now()
  live(1, { askedAt: now - 10_000 })
  live(2, { endsAt: now + 5_000 })
  live(3, { askedAt: now - 31_000 })
  live(4, { endsAt: now - 1 })
  await settled()
  t.strictSame(sent.map(hints => hints.map(({ until }) => until)), [[now + 20_000, now + 5_000]])
  t.equal(counters.dropped, 2)
})

t.test('that a token has ended goes first, takes the place of what waits for it, and outlives every hint that it was live', async t => {
  const { writer, live, sent, settled, values, clock } = startWriter()
  live(1)
  live(2)
  writer.ended([hashOf(2), hashOf(3)])
  writer.changed([hashOf(3), hashOf(4)])
  live(3)
  await settled()
  t.strictSame(values(), [['ended', 'ended', 'ask', 'live']])
  t.strictSame(sent[0]?.map(({ live }) => live), [false, false, false, true])
  t.ok((sent[0]?.[0]?.until ?? 0) > clock.now() + 35_000)
  writer.pause()
  writer.ended([sessionDataHash('x')])
  writer.changed([sessionDataHash('x')])
  await settled()
  t.strictSame(sent[1]?.map(({ key, value, live }) => [key, value, live]), [['p:hints:pause', 'ask', false]])
  t.equal(sent.length, 2, 'session data is nobody’s token')
})

t.test('one request at a time, and under pressure hints of live tokens are dropped', async t => {
  let release = () => {}
  const released = new Promise<void>(resolve => { release = resolve })
  const { writer, live, sent, settled, counters } = startWriter(async hints => {
    await released
    return hints.map(() => null)
  })
  for (let i = 0; i < 5_000; i++) live(i)
  await settled()
  for (let i = 5_000; i < 10_000; i++) live(i)
  writer.ended(Array.from({ length: 12_000 }, (_, i) => hashOf(20_000 + i)))
  await settled()
  t.equal(sent.length, 1)
  t.match(counters, { written: 0, lost: 2_000 })
  t.equal(counters.dropped, 10_000 - 1_200, 'a thousand wait, and 200 are under way')
  release()
  t.ok(await becomesTrue(() => counters.written === 11_200, patienceMs))
  t.ok(sent.every(hints => hints.length <= 400))
})

t.test('only what says that a token has ended is tried again, until older hints are over', async t => {
  let works = false
  const { writer, live, counters, clock, log, values } = startWriter(hints => {
    if (!works) throw new WriteError('ECONNREFUSED')
    return hints.map(() => null)
  })
  live(1)
  writer.ended([hashOf(2)])
  t.ok(await becomesTrue(() => counters.failed === 3, patienceMs))
  t.strictSame(values(), [['ended', 'live'], ['ended']])
  t.strictSame(log, ['{"cause":"ECONNREFUSED"} hints for edges cannot be written: edges ask this server, or go by older hints for EDGE_TTL'])
  clock.advance(45_000)
  t.ok(await becomesTrue(() => counters.lost === 1, patienceMs))
  works = true
  t.ok(await becomesTrue(() => { live(3); return counters.written > 0 }, patienceMs))
  t.match(log[1], 'written again')
})

t.test('a refusal of one is a failure of that one', async t => {
  const { writer, live, counters, settled, log } = startWriter(hints =>
    hints.map(({ live }, i) => live ? 'kept' : i === 0 ? { refusal: 'NOPERM' } : null))
  live(1)
  writer.ended([hashOf(2), hashOf(3)])
  await settled()
  t.strictSame(counters, { written: 1, kept: 1, failed: 1, dropped: 0, lost: 0 })
  t.match(log, [/"NOPERM"/])
  await writer.stop()
})

t.test('stopping writes what waits, not for long, and nothing after it', async t => {
  const orderly = startWriter()
  orderly.writer.ended([hashOf(1)])
  await orderly.writer.stop()
  t.strictSame(orderly.values(), [['ended']])
  orderly.writer.ended([hashOf(2)])
  orderly.live(3)
  await orderly.settled()
  t.equal(orderly.sent.length, 1)

  const silent = startWriter(() => new Promise(() => {}))
  silent.writer.ended(Array.from({ length: 300 }, (_, i) => hashOf(i)))
  await silent.settled()
  await silent.writer.stop()
  t.equal(silent.counters.lost, 100, 'those that were not even sent')

  const failing = startWriter(() => { throw new WriteError('ECONNREFUSED') })
  failing.writer.ended([hashOf(1)])
  t.ok(await becomesTrue(() => failing.counters.failed === 1, patienceMs))
  await failing.writer.stop()
  t.match(failing.counters, { failed: 2, lost: 1 }, 'tried once more')
})
