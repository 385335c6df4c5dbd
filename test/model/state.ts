import type { Scenario } from './scenarios.js'

/** A few named small numbers stored side by side in the bytes of a state. */
type Cells<K extends string> = Record<K, number>

function cells<K extends string> (...names: K[]) {
  class View {
    constructor (readonly bytes: Uint8Array, readonly base: number) {}
  }
  names.forEach((name, offset) => Object.defineProperty(View.prototype, name, {
    get (this: View) { return this.bytes[this.base + offset] },
    set (this: View, value: number) { this.bytes[this.base + offset] = value }
  }))
  return {
    size: names.length,
    view: (bytes: Uint8Array, base: number) => new View(bytes, base) as unknown as Cells<K>
  }
}

const database = cells('generation', 'registered', 'issued', 'committed', 'commitAge', 'answered', 'bump', 'bumpCovers', 'steppedBack')
const snapshot = cells('generation', 'registered', 'issued', 'committed', 'row', 'fixed')
const node = cells('value', 'incarnation')
const redis = cells('lastIncarnation', 'swapped', 'swapAge')
const instance = cells('generation', 'incarnation', 'age', 'unsettled', 'node', 'known', 'infoAge', 'seen', 'seenAge')
const poll = cells('phase', 'generation', 'incarnation', 'unsettled', 'age')
const reader = cells('phase', 'generation', 'value', 'late', 'moved', 'node')
const revocation = cells('phase', 'node', 'incarnation', 'timer', 'row', 'rowAge', 'rowInFuture', 'sees')
const helper = cells('phase', 'node', 'incarnation', 'row')
const batch = cells('phase', 'live', 'late')

export type Node = ReturnType<typeof node.view>
export type Snapshot = ReturnType<typeof snapshot.view>
export type Instance = ReturnType<typeof instance.view>
export type Poll = ReturnType<typeof poll.view>
export type Reader = ReturnType<typeof reader.view>
export type Revocation = ReturnType<typeof revocation.view>
export type Helper = ReturnType<typeof helper.view>

/** One state of the whole system: a byte per variable, read as 32-bit words by the explorer. */
export class SystemState {
  readonly bytes: Uint8Array
  readonly words: Uint32Array
  readonly database
  /** What a standby has replayed, a crash would leave, or a copy of the database holds; undefined where there is only one database. */
  readonly snapshot: Snapshot | undefined
  readonly redis
  readonly batch
  readonly nodes: Node[]
  readonly instances: Instance[]
  readonly polls: Poll[]
  readonly readers: Reader[]
  readonly revocations: Revocation[]
  readonly helpers: Helper[]

  constructor (scenario: Scenario) {
    const snapshots = scenario.database === 'one' ? 0 : 1
    const groups = [
      [database, 1], [snapshot, snapshots], [redis, 1], [batch, 1], [node, 2], [instance, scenario.instances],
      [
        poll,
        scenario.slowPolls.length
      ], [reader, scenario.readers.length], [revocation, scenario.revokers.length], [helper, scenario.helpers.length]
    ] as const
    const size = groups.reduce((sum, [{ size }, count]) => sum + size * count, 0)
    this.bytes = new Uint8Array(Math.ceil(size / 4) * 4)
    this.words = new Uint32Array(this.bytes.buffer)

    let base = 0
    const place = <V>(kind: { size: number, view: (bytes: Uint8Array, base: number) => V }, count: number): V[] =>
      Array.from({ length: count }, () => {
        const view = kind.view(this.bytes, base)
        base += kind.size
        return view
      })
    this.database = place(database, 1)[0]!
    this.snapshot = place(snapshot, snapshots)[0]
    this.redis = place(redis, 1)[0]!
    this.batch = place(batch, 1)[0]!
    this.nodes = place(node, 2)
    this.instances = place(instance, scenario.instances)
    this.polls = place(poll, scenario.slowPolls.length)
    this.readers = place(reader, scenario.readers.length)
    this.revocations = place(revocation, scenario.revokers.length)
    this.helpers = place(helper, scenario.helpers.length)
    this.begin(scenario)
  }

  /** Every instance is connected to redis1, trusts it, and has known generation 1 for longer than H. */
  private begin (scenario: Scenario) {
    const epoch = { generation: 1, registered: 1, issued: scenario.issuing ? 0 : 1 }
    Object.assign(this.database, epoch)
    if (this.snapshot) Object.assign(this.snapshot, epoch)
    this.redis.lastIncarnation = 1
    this.nodes[0]!.incarnation = 1
    for (const instance of this.instances) {
      Object.assign(instance, { generation: 1, incarnation: 1, node: 1, known: 1, seen: 1, seenAge: scenario.h })
    }
  }

  /** The server that a connection leads to; connections count servers from 1, 0 is no connection. */
  node (connection: number): Node | undefined {
    return this.nodes[connection - 1]
  }
}
