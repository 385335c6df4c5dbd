/** More than a process is busy with at once. */
const most = 10_000
const places = 16_384

/**
 * What was worked out lately, by name: for names that end in letters and digits as if drawn by lot, as hashes do. A name is remembered once it
 * has come twice within some thousands: of a great many each comes too late for the next time, and would only have aged in the heap. When it
 * is full it begins anew, for all of it can be worked out again.
 */
export class Recent<Value> extends Map<string, Value> {
  /** What came once: each name has a place, where the next one puts its mark over it. */
  readonly #marks = new Int32Array(places)

  override set (name: string, value: Value): this {
    if (!this.has(name) && !this.#cameBefore(name)) return this
    if (this.size >= most) this.clear()
    return super.set(name, value)
  }

  #cameBefore (name: string): boolean {
    const number = Number.parseInt(name.slice(-7), 36)
    const place = number % places
    const mark = Math.floor(number / places)
    if (this.#marks[place] === mark) return true
    this.#marks[place] = mark
    return false
  }
}
