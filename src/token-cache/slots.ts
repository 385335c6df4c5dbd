const slotCount = 16_384

export interface Address { host: string, port: number }

/** One row of CLUSTER SLOTS: from slot, to slot, the master's address and id; then replicas. */
export type SlotRow = [
  from: number,
  to: number,
  master: [host: string | null, port: number, id: string, ...more: unknown[]],
  ...replicas: unknown[]
]

/** Which master has which slots, always in the same order. */
export interface SlotMap {
  text: string
  /** Each master and its slots, written like `0-5460,5462-5462`. */
  masters: Array<{ address: Address, slots: string }>
  /** For each slot, the index of its master in `masters`. */
  owners: Uint16Array
}

/** The map as the server at `asked` sees it; throws if a slot has no master. */
export function readSlotMap (rows: SlotRow[], asked: Address): SlotMap {
  const byNode = new Map<string, { address: Address, ranges: Array<[from: number, to: number]> }>()
  for (const [from, to, [host, port, id]] of [...rows].sort(([a], [b]) => a - b)) {
    // A server that doesn't know its own address is the one that was asked.
    const address = { host: host === null || host === '' ? asked.host : host, port }
    const node = byNode.get(id) ?? { address, ranges: [] }
    byNode.set(id, node)
    const last = node.ranges.at(-1)
    if (last !== undefined && last[1] === from - 1) last[1] = to
    else node.ranges.push([from, to])
  }
  const nodes = [...byNode.values()]
  const owners = new Uint16Array(slotCount).fill(nodes.length)
  for (const [i, { ranges }] of nodes.entries()) for (const [from, to] of ranges) owners.fill(i, from, to + 1)
  if (owners.includes(nodes.length)) throw new Error('not every slot has a server')
  const masters = nodes.map(({ address, ranges }) => ({ address, slots: ranges.map(range => range.join('-')).join() }))
  return { text: masters.map(({ address: { host, port }, slots }) => `${host} ${port} ${slots}`).join('\n'), masters, owners }
}
