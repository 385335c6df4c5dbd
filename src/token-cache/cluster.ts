import { createHash } from 'node:crypto'
import slotOf from 'cluster-key-slot'
import { type CacheLink, type Identity, MisroutedError } from './backend.js'
import type { RedisLink } from './redis.js'
import { type Address, readSlotMap, type SlotMap } from './slots.js'

interface Node { name: string, address: Address, link: RedisLink }

/** A master and the slots that it has. */
interface Shard { node: Node, slots: string }

interface Parts {
  /** Some servers of the cluster, asked while none that the cluster named itself is connected. */
  seeds: Address[]
  /** A link to one server; `onChange` is told when its connection comes and goes. */
  open (address: Address, onChange: () => void): RedisLink
  /** Told once every shard is connected for the first time. */
  onReady? (): void
}

/**
 * A Redis Cluster as one cache. Why the guarantee of one server holds here:
 *
 * - The cluster's incarnation is that of every master together with the slots it has, as this link routes to it. Whoever trusts an
 *   incarnation therefore sends a key to exactly that process in exactly that history of replication, and whoever settled in it has
 *   overwritten the key there. What the servers believe of each other matters to nobody: for each key there is one server again.
 * - A slot that moves, by whatever means, is another incarnation: it is registered with a new generation, which makes void what
 *   travelled with the slot, what was left behind, and what comes back with it later.
 * - MOVED and ASK are never followed. MOVED says that the map is old, and the call fails. ASK says that a key of a slot on its way isn't
 *   here (any more): the call fails, so nothing is settled that didn't reach the server that counts, and nothing is believed from the other.
 * - `connection` is another number as soon as any shard has another connection, or the map is another one: a reading, a filling or a
 *   settlement that spans the change is worth nothing.
 * - A shard whose replica takes over has another run id, or after a promotion in place another replication id; so has a node that was
 *   replaced under its old address, and that one has another connection too.
 * - An old master that is cut off with an instance goes on answering it, under an incarnation that is no longer registered once the others
 *   are elsewhere; until they are, it is the server that counts, and a revocation that can't reach it bumps the generation.
 */
export function createClusterLink ({ seeds, open, onReady = () => {} }: Parts): CacheLink {
  const nodes = new Map<string, Node>()
  let map: SlotMap | null = null
  let shards: Shard[] = []
  let number = 1
  /** The connections that `number` stands for, shard by shard. */
  let seen: Array<number | null> = []
  let confirmed = new Map<Shard, string | null>()
  let refreshing: Promise<void> | null = null
  let asked = 0
  let wasReady = false
  let closed = false

  function nodeAt (address: Address): Node {
    const name = `${address.host} ${address.port}`
    const there = nodes.get(name)
    if (there !== undefined) return there
    const node = { name, address, link: open(address, onChange) }
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

  /** Null while a shard is without connection: nobody can vouch for its part of the incarnation. */
  function currentConnection (): number | null {
    let whole = shards.length > 0
    let same = true
    for (const [i, { node }] of shards.entries()) {
      const { connection } = node.link
      if (connection === null) whole = false
      if (connection !== seen[i]) same = false
    }
    if (!same) renumber()
    return whole ? number : null
  }

  function renumber (): void {
    number++
    seen = shards.map(({ node }) => node.link.connection)
    confirmed = new Map()
  }

  function refresh (): Promise<void> {
    return refreshing ??= ask().finally(() => { refreshing = null })
  }

  /** Asks one server after another, beginning with another one each time, until one tells a whole map. */
  async function ask (): Promise<void> {
    if (!shards.some(({ node }) => node.link.connection !== null)) for (const seed of seeds) nodeAt(seed)
    const connected = [...nodes.values()].filter(({ link }) => link.connection !== null)
    const first = asked++
    let failure: unknown = new Error('no server of the cluster is connected')
    for (const i of connected.keys()) {
      const node = connected[(first + i) % connected.length] as Node
      try {
        return adopt(readSlotMap(await node.link.slots(), node.address))
      } catch (error) {
        failure = error
      }
    }
    throw failure
  }

  function adopt (told: SlotMap): void {
    if (closed) return
    if (map?.text !== told.text) {
      map = told
      shards = told.masters.map(({ address, slots }) => ({ node: nodeAt(address), slots }))
      renumber()
    }
    if (shards.some(({ node }) => node.link.connection === null)) return
    const used = new Set(shards.map(({ node }) => node))
    for (const node of nodes.values()) {
      if (used.has(node)) continue
      nodes.delete(node.name)
      void node.link.close()
    }
    onChange()
  }

  function shardOf (key: string): Shard {
    const shard = map === null ? undefined : shards[map.owners[slotOf(key)] as number]
    if (shard === undefined) throw new Error('no server of the cluster is known')
    return shard
  }

  /** What `work` answers, once every shard is connected; a map that proves old is asked for again. */
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
    return await Promise.all(some.map(async (shard): Promise<[Shard, string | null]> => [shard, (await shard.node.link.identify()).incarnation]))
  }

  /** What the cluster is, if it still is what `used` stands for. */
  function conclude (used: number, told: Array<[Shard, string | null]>): Identity {
    if (self.connection !== used) throw new Error('a connection was replaced')
    for (const [shard, incarnation] of told) confirmed.set(shard, incarnation)
    const lines = shards.map(shard => `${shard.slots} ${confirmed.get(shard)}`)
    const known = shards.every(shard => typeof confirmed.get(shard) === 'string')
    return { connection: used, incarnation: known ? createHash('sha256').update(lines.join('\n')).digest('hex') : null }
  }

  const self: CacheLink = {
    get connection () { return currentConnection() },
    look: key => whole(() => shardOf(key).node.link.look(key)),
    takeLease: (key, lease, ttlMs) => whole(() => shardOf(key).node.link.takeLease(key, lease, ttlMs)),
    compareAndSet: (key, expected, value, ttlMs) => whole(() => shardOf(key).node.link.compareAndSet(key, expected, value, ttlMs)),

    overwrite: (keys, ttlMs) => whole(async used => {
      const parts = new Map<Shard, string[]>()
      for (const key of keys) parts.set(shardOf(key), [...parts.get(shardOf(key)) ?? [], key])
      const written = await Promise.all([...parts].map(async ([shard, own]): Promise<[Shard, string | null]> => [shard, (await shard.node.link.overwrite(own, ttlMs)).incarnation]))
      // The others hold none of these keys: that they are who they were only has to be what everybody registered.
      const others = shards.filter(shard => !parts.has(shard) && (keys.length === 0 || !confirmed.has(shard)))
      return conclude(used, [...written, ...await identities(others)])
    }),

    async identify () {
      // A map that can't be had just now is no reason to doubt the one in use: see above, it need not be the newest.
      await refresh().catch(error => { if (self.connection === null) throw error })
      return await whole(async used => conclude(used, await identities(shards)))
    },

    async close () {
      closed = true
      await Promise.all([...nodes.values()].map(({ link }) => link.close()))
    }
  }

  for (const seed of seeds) nodeAt(seed)
  return self
}
