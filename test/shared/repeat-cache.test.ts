import { createHash } from 'node:crypto'
import t from 'tap'
import { Recent } from '../../src/shared/repeat-cache.js'

const nameOf = (number: number) => createHash('sha256').update(String(number)).digest('hex')
const names = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => nameOf(from + i))

t.test('a name that comes twice is remembered, with its latest value', async t => {
  const recent = new Recent<number>()
  for (const name of names(0, 500)) t.equal(recent.set(name, 1).get(name), undefined)
  const again = names(0, 500).filter(name => recent.set(name, 2).get(name) === 2)
  t.ok(again.length > 480, `${again.length} of 500: a few have lost their places to others`)
  const [name = ''] = again
  t.equal(recent.set(name, 3).get(name), 3)
})

t.test('of a great many that come in turn next to none is remembered', async t => {
  const recent = new Recent<number>()
  for (const _round of [1, 2]) for (const name of names(0, 100_000)) recent.set(name, 1)
  t.ok(recent.size < 1_000, `${recent.size} of 100,000`)
})

t.test('never more are remembered than there is room for', async t => {
  const recent = new Recent<number>()
  let most = 0
  for (const name of names(0, 12_000)) most = Math.max(most, recent.set(name, 1).set(name, 1).size)
  t.equal(most, 10_000)
  t.equal(recent.size, 2_000, 'it has begun anew')
  t.equal(recent.get(nameOf(11_999)), 1)
})

t.test('a name that is no hash is worked out each time', async t => {
  for (const name of ['', 'é', '-', ' ']) t.equal(new Recent<number>().set(name, 1).set(name, 1).get(name), undefined, JSON.stringify(name))
})
