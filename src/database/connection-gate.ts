/** The error of a lost connection may arrive this long before the news of the loss. */
const lossMs = 100

/** Lets statements and transactions into a pool whose new connections have to be checked before they are used. */
export interface ConnectionGate {
  /** Undefined where there is a place, else a promise of one; it rejects if a connection was opened for it, and failed its check. */
  enter (): Promise<void> | undefined
  /** Has to follow each `enter`. */
  leave (): void
  /** The same where the connection was lost: until that is known for sure, its place counts as taken. */
  leaveLost (): void
  /** The connection of this id is gone: one that takes its place has to be checked again. */
  lost (id: number): void
  /** How many connections are open and have passed. */
  readonly open: number
}

interface GateOptions {
  size: number
  /** Whether more statements than connections are let in once all are open; the driver then sends several on one connection. */
  mayShare: boolean
  /** A statement of the pool's. Returns the id of the connection that it ran on, or null if that was ended and another is to be tried. */
  check (): Promise<number | null>
}

/**
 * postgres.js opens a connection whenever a statement finds none idle, and tells nobody. So no more statements are let in than connections
 * have passed, and where more wait, the statement that opens the next one is its check.
 */
export function createConnectionGate ({ size, mayShare, check }: GateOptions): ConnectionGate {
  const passed = new Set<number>()
  const waiting: Array<{ resolve (): void, reject (error: unknown): void }> = []
  let used = 0
  let lost = 0
  let checking = 0
  let scheduled = false

  const isFree = () => used < passed.size || (mayShare && passed.size === size)

  function admit (): void {
    while (waiting.length > 0 && isFree()) {
      used++
      waiting.shift()?.resolve()
    }
    if (scheduled || checking >= waiting.length || passed.size + checking >= size) return
    scheduled = true
    // Not before those let in just now have their connections: a check that took one of them would leave them to open another.
    setImmediate(openMore)
  }

  function openMore (): void {
    scheduled = false
    // One that is idle would run the check, and no new one be opened.
    if (used - lost < passed.size) return
    while (checking < waiting.length && passed.size + checking < size) {
      checking++
      void openOne()
    }
  }

  async function openOne (): Promise<void> {
    try {
      const id = await check()
      if (id !== null) passed.add(id)
    } catch (error) {
      waiting.shift()?.reject(error)
    }
    checking--
    admit()
  }

  function leave (): void {
    used--
    admit()
  }

  return {
    get open () { return passed.size },
    enter () {
      if (waiting.length === 0 && isFree()) {
        used++
        return undefined
      }
      return new Promise((resolve, reject) => {
        waiting.push({ resolve, reject })
        admit()
      })
    },
    leave,
    leaveLost () {
      lost++
      setTimeout(() => {
        lost--
        leave()
      }, lossMs).unref()
    },
    lost (id) {
      passed.delete(id)
      admit()
    }
  }
}
