/** More keys than a process works with at once. */
const maxEntries = 10_000
const slots = 16_384

/**
 * Remembers values of keys that come twice within some thousands. Keys must end in random letters or digits, as hashes do. Of a hundred
 * thousand keys in turn each comes back too late: remembering them all would only fill the heap. When full, it forgets everything.
 */
export class RepeatCache<Value> {
  readonly #values = new Map<string, Value>()
  /** The last key seen in each slot: a key that finds its own mark has come before. */
  readonly #marks = new Int32Array(slots)

  get size (): number { return this.#values.size }

  get (key: string): Value | undefined { return this.#values.get(key) }

  /** Keeps `value`, unless `key` is new here: then it only marks the key as seen. */
  offer (key: string, value: Value): void {
    if (!this.#values.has(key) && !this.#wasSeen(key)) return
    if (this.#values.size >= maxEntries) this.#values.clear()
    this.#values.set(key, value)
  }

  #wasSeen (key: string): boolean {
    const number = Number.parseInt(key.slice(-7), 36)
    const slot = number % slots
    const mark = Math.floor(number / slots)
    if (this.#marks[slot] === mark) return true
    this.#marks[slot] = mark
    return false
  }
}
