import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { createConnectionGate } from '../../src/database/connection-gate.js'

/** A gate whose checks the test ends, in the order in which they began. */
function gateOf (size: number, mayShare: boolean) {
  const checks: Array<{ pass (id: number): void, fail (error: Error): void }> = []
  const check = () => new Promise<number>((resolve, reject) => { checks.push({ pass: resolve, fail: reject }) })
  const gate = createConnectionGate({ size, mayShare, check })
  const inside: string[] = []
  const enter = (name: string) => Promise.resolve(gate.enter()).then(() => { inside.push(name) }, (error: Error) => { inside.push(error.message) })
  return { gate, checks, inside, enter }
}

t.test('nothing is let in before a connection has passed, and no more than have', async t => {
  const { gate, checks, inside, enter } = gateOf(3, false)
  for (const name of ['a', 'b', 'c', 'd']) void enter(name)
  await turn()
  t.equal(checks.length, 3, 'a connection each, up to the size of the pool')
  t.same(inside, [])
  for (const [id, { pass }] of checks.entries()) pass(id)
  await turn()
  t.same(inside, ['a', 'b', 'c'])
  gate.leave()
  await turn()
  t.same(inside, ['a', 'b', 'c', 'd'])
  gate.leave()
  t.equal(gate.enter(), undefined, 'where one is idle, nothing is waited for')
  t.equal(checks.length, 3, 'or checked')
})

t.test('a check may run on a connection that has become idle: until it ends, that one is not counted on', async t => {
  const { gate, checks, inside, enter } = gateOf(2, false)
  void enter('a')
  checks[0]?.pass(0)
  await turn()
  void enter('b')
  gate.leave()
  await turn()
  t.same(inside, ['a'])
  checks[1]?.pass(0)
  await turn()
  t.same(inside, ['a', 'b'])
  t.equal(gate.open, 1)
})

t.test('who waits for a connection that does not pass is refused, and the next is given another', async t => {
  const { gate, checks, inside, enter } = gateOf(1, false)
  void enter('a')
  void enter('b')
  checks[0]?.fail(new Error('refused'))
  await turn()
  t.same(inside, ['refused'])
  t.equal(checks.length, 2)
  checks[1]?.pass(0)
  await turn()
  t.same(inside, ['refused', 'b'])
  gate.leave()
  gate.lost(0)
  void enter('c')
  await turn()
  t.equal(checks.length, 3, 'and what takes the place of a lost connection is checked')
})

t.test('where a connection may carry several statements, all are let in once every connection has passed', async t => {
  const { gate, checks, inside, enter } = gateOf(2, true)
  for (const name of ['a', 'b', 'c']) void enter(name)
  checks[0]?.pass(0)
  await turn()
  t.same(inside, [], 'the other check may be running on it')
  checks[1]?.pass(1)
  await turn()
  t.same(inside, ['a', 'b', 'c'])
  t.equal(gate.enter(), undefined)
  gate.lost(1)
  void enter('d')
  await turn()
  t.equal(checks.length, 3)
})
