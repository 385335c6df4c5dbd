/** The states found so far, in the order found, each of so many 32-bit words and with the state it came from. */
export class Visited {
  count = 0
  private words: Uint32Array
  private parents = new Int32Array(1024)
  private slots = new Int32Array(4096).fill(-1)

  constructor (private readonly width: number) {
    this.words = new Uint32Array(1024 * width)
  }

  /** Keeps the state unless it is known already. */
  add (state: Uint32Array, parent: number) {
    const slot = this.find(state)
    if (this.slots[slot] !== -1) return
    if (this.count === this.parents.length) this.growStates()
    this.words.set(state, this.count * this.width)
    this.parents[this.count] = parent
    this.slots[slot] = this.count++
    if (this.count * 2 > this.slots.length) this.growSlots()
  }

  load (index: number, into: Uint32Array) {
    const { words, width } = this
    const start = index * width
    for (let i = 0; i < width; i++) into[i] = words[start + i]!
  }

  /** The states from the first to this one. */
  pathTo (index: number): number[] {
    const path = []
    for (let at = index; at !== -1; at = this.parents[at]!) path.unshift(at)
    return path
  }

  holds (index: number, state: Uint32Array): boolean {
    const start = index * this.width
    for (let i = 0; i < this.width; i++) if (this.words[start + i] !== state[i]) return false
    return true
  }

  private find (state: Uint32Array): number {
    const mask = this.slots.length - 1
    let slot = hash(state) & mask
    for (;;) {
      const index = this.slots[slot]!
      if (index === -1 || this.holds(index, state)) return slot
      slot = (slot + 1) & mask
    }
  }

  private growStates () {
    const words = new Uint32Array(this.words.length * 2)
    words.set(this.words)
    this.words = words
    const parents = new Int32Array(this.parents.length * 2)
    parents.set(this.parents)
    this.parents = parents
  }

  private growSlots () {
    this.slots = new Int32Array(this.slots.length * 2).fill(-1)
    const state = new Uint32Array(this.width)
    for (let index = 0; index < this.count; index++) {
      this.load(index, state)
      this.slots[this.find(state)] = index
    }
  }
}

function hash (state: Uint32Array): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < state.length; i++) {
    hash = Math.imul(hash ^ state[i]!, 0x9e3779b1)
    hash ^= hash >>> 15
  }
  return hash
}
