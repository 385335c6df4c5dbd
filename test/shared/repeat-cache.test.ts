import { createHash } from 'node:crypto'
import t from 'tap'
import { RepeatCache } from '../../src/shared/repeat-cache.js'

const keyOf = (number: number) => createHash('sha256').update(String(number)).digest('hex')
const keys = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => keyOf(from + i))

function offer (cache: RepeatCache<number>, key: string, value: number): number | undefined {
  cache.offer(key, value)
  return cache.get(key)
}

t.test('a key that comes twice is remembered, with its latest value', async t => {
  const cache = new RepeatCache<number>()
  for (const key of keys(0, 500)) t.equal(offer(cache, key, 1), undefined)
  const again = keys(0, 500).filter(key => offer(cache, key, 2) === 2)
  t.ok(again.length > 480, `${again.length} of 500: a few have lost their slots to others`)
  const [key = ''] = again
  t.equal(offer(cache, key, 3), 3)
})

t.test('of a great many keys in turn, almost none are remembered', async t => {
  const cache = new RepeatCache<number>()
  for (const _round of [1, 2]) for (const key of keys(0, 100_000)) cache.offer(key, 1)
  t.ok(cache.size < 1_000, `${cache.size} of 100,000`)
})

t.test('no more keys are remembered than there is room for', async t => {
  const cache = new RepeatCache<number>()
  let most = 0
  for (const key of keys(0, 12_000)) {
    cache.offer(key, 1)
    cache.offer(key, 1)
    most = Math.max(most, cache.size)
  }
  t.equal(most, 10_000)
  t.equal(cache.size, 2_000, 'it has started again from empty')
  t.equal(cache.get(keyOf(11_999)), 1)
})

t.test('a key that is not a hash is never remembered', async t => {
  for (const key of ['', 'é', '-', ' ']) {
    const cache = new RepeatCache<number>()
    cache.offer(key, 1)
    t.equal(offer(cache, key, 1), undefined, JSON.stringify(key))
  }
})
