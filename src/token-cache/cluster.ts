import { createHash } from 'node:crypto'
import slotOf from 'cluster-key-slot'
import { type CacheBackend, type Identity, MisroutedError } from './backend.js'
import type { RedisBackend } from './redis.js'
import { type Address, readSlotMap, type SlotMap } from './slots.js'

interface Node { name: string, address: Address, backend: RedisBackend }

/** A master and the slots that it has. */
interface Shard { node: Node, slots: string }

interface ClusterBackendNeeds {
  /** Some servers of the cluster, asked as long as none that the cluster itself named is connected. */
  seeds: Address[]
  /** Connects to one server; `onChange` must be called whenever a connection opens or closes. */
  open (address: Address, onChange: () => void): RedisBackend
  /** Called once every shard is connected for the first time. */
  onReady? (): void
}

/**
 * A Redis Cluster as one cache. Why the guarantee of one server holds here:
 *
 * - The cluster's incarnation is that of every master together with its slots, as this backend routes to them. Whoever trusts an
 * incarnation
 *   therefore sends a key to exactly that process in exactly that history of replication, and whoever settled in it has overwritten the key
 *   there. What the servers believe about each other doesn't matter: for each key there is one server again.
 * - A slot that moves, by whatever means, gives another incarnation. It is registered with a new generation, which makes void what
 * travelled
 *   with the slot, what was left behind, and what comes back with it later.
 * - MOVED and ASK are never followed. MOVED says that our map is old, and the call fails. ASK says that a key of a migrating slot isn't
 * here
 *   (any more), and the call fails: nothing is settled that didn't reach the server that counts, and nothing from the other is believed.
 * - `connection` changes as soon as any shard has another connection, or the map changes: a look-up, a fill or a settlement that spans the
 *   change is worth nothing.
 * - A shard whose replica takes over has another run id, or after a promotion in place another replication id; so has a node that was
 *   replaced under its old address, which has another connection too.
 * - An old master that is cut off together with an instance keeps answering it. Its incarnation is no longer registered once the others
 * have
 *   moved on; until they have, it is the server that counts, and a revocation that can't reach it bumps the generation.
 */
export function createClusterBackend ({ seeds, open, onReady = () => {} }: ClusterBackendNeeds): CacheBackend {
  const nodes = new Map<string, Node>()
  let map: SlotMap | null = null
  let shards: Shard[] = []
  let number = 1
  /** The connections that `number` stands for, shard by shard. */
  let shardConnections: Array<number | null> = []
  let confirmed = new Map<Shard, string | null>()
  let refreshing: Promise<void> | null = null
  let asked = 0
  let wasReady = false
  let closed = false

  function nodeAt (address: Address): Node {
    const name = `${address.host} ${address.port}`
    const there = nodes.get(name)
    if (there !== undefined) return there
    const node = { name, address, backend: open(address, onChange) }
    nodes.set(name, node)
    return node
  }

  function onChange (): void {
    if (closed || self.connection === null) {
      if (!closed) refresh().catch(() => {})
      return
    }
    if (!wasReady) onReady()
    wasReady = true
  }

  /** Null while a shard has no connection: nobody can vouch for its part of the incarnation. */
  function currentConnection (): number | null {
    let whole = shards.length > 0
    let same = true
    for (const [i, { node }] of shards.entries()) {
      const { connection } = node.backend
      if (connection === null) whole = false
      if (connection !== shardConnections[i]) same = false
    }
    if (!same) renumber()
    return whole ? number : null
  }

  function renumber (): void {
    number++
    shardConnections = shards.map(({ node }) => node.backend.connection)
    confirmed = new Map()
  }

  function refresh (): Promise<void> {
    return refreshing ??= ask().finally(() => { refreshing = null })
  }

  /** Asks one server after another, starting with a different one each time, until one has a complete map. */
  async function ask (): Promise<void> {
    if (!shards.some(({ node }) => node.backend.connection !== null)) for (const seed of seeds) nodeAt(seed)
    const connected = [...nodes.values()].filter(({ backend }) => backend.connection !== null)
    const first = asked++
    let failure: unknown = new Error('no server of the cluster is connected')
    for (const i of connected.keys()) {
      const node = connected[(first + i) % connected.length] as Node
      try {
        return adopt(readSlotMap(await node.backend.slots(), node.address))
      } catch (error) {
        failure = error
      }
    }
    throw failure
  }

  function adopt (newest: SlotMap): void {
    if (closed) return
    if (map?.text !== newest.text) {
      map = newest
      shards = newest.masters.map(({ address, slots }) => ({ node: nodeAt(address), slots }))
      renumber()
    }
    if (shards.some(({ node }) => node.backend.connection === null)) return
    const used = new Set(shards.map(({ node }) => node))
    for (const node of nodes.values()) {
      if (used.has(node)) continue
      nodes.delete(node.name)
      void node.backend.close()
    }
    onChange()
  }

  function shardOf (key: string): Shard {
    const shard = map === null ? undefined : shards[map.owners[slotOf(key)] as number]
    if (shard === undefined) throw new Error('no server of the cluster is known')
    return shard
  }

  /** Runs `work` if every shard is connected; asks for the map again if it proves to be old. */
  async function whole<T> (work: (used: number) => Promise<T>): Promise<T> {
    const used = self.connection
    if (used === null) throw new Error('a shard is not connected')
    try {
      return await work(used)
    } catch (error) {
      if (error instanceof MisroutedError) refresh().catch(() => {})
      throw error
    }
  }

  async function identities (some: Shard[]): Promise<Array<[Shard, string | null]>> {
    return await Promise.all(some.map(async (shard): Promise<[Shard, string | null]> =>
      [shard, (await shard.node.backend.identify()).incarnation]))
  }

  /** The incarnation of the whole cluster, if no connection was replaced since `used`. */
  function conclude (used: number, answers: Array<[Shard, string | null]>): Identity {
    if (self.connection !== used) throw new Error('a connection was replaced')
    for (const [shard, incarnation] of answers) confirmed.set(shard, incarnation)
    const lines = shards.map(shard => `${shard.slots} ${confirmed.get(shard)}`)
    const known = shards.every(shard => typeof confirmed.get(shard) === 'string')
    return { connection: used, incarnation: known ? createHash('sha256').update(lines.join('\n')).digest('hex') : null }
  }

  const self: CacheBackend = {
    get connection () { return currentConnection() },
    get: key => whole(() => shardOf(key).node.backend.get(key)),
    takeLease: (key, lease, ttlMs) => whole(() => shardOf(key).node.backend.takeLease(key, lease, ttlMs)),
    compareAndSet: (key, expected, value, ttlMs) => whole(() => shardOf(key).node.backend.compareAndSet(key, expected, value, ttlMs)),

    overwrite: (keys, ttlMs) => whole(async used => {
      const parts = new Map<Shard, string[]>()
      for (const key of keys) parts.set(shardOf(key), [...parts.get(shardOf(key)) ?? [], key])
      const written = await Promise.all([...parts].map(async ([shard, own]): Promise<[Shard, string | null]> =>
        [shard, (await shard.node.backend.overwrite(own, ttlMs)).incarnation]))
      // The other shards hold none of these keys: their identity only has to be the registered one.
      const others = shards.filter(shard => !parts.has(shard) && (keys.length === 0 || !confirmed.has(shard)))
      return conclude(used, [...written, ...await identities(others)])
    }),

    async identify () {
      // A map that can't be had right now is no reason to doubt the one in use, which need not be the newest (see above).
      await refresh().catch(error => { if (self.connection === null) throw error })
      return await whole(async used => conclude(used, await identities(shards)))
    },

    async close () {
      closed = true
      await Promise.all([...nodes.values()].map(({ backend }) => backend.close()))
    }
  }

  for (const seed of seeds) nodeAt(seed)
  return self
}
