/** Lets statements and transactions into a pool whose new connections have to be checked before they are used. */
export interface ConnectionGate {
  /** Resolves when there is a place; `leave` has to follow. Rejects if a connection was opened for it, and did not pass the check. */
  enter (): Promise<void> | undefined
  leave (): void
  /** The connection of this id is gone: one that takes its place has to be checked again. */
  lost (id: number): void
  /** How many connections are open and have passed. */
  readonly open: number
}

interface GateOptions {
  size: number
  /** Whether more statements than connections are let in once all are open; the driver then sends several on one connection. */
  mayShare: boolean
  /** Runs on the pool, so that it opens a connection if all that are open are in use. Returns the id of the one that it ran on. */
  check (): Promise<number>
}

/**
 * postgres.js opens a connection whenever a statement finds none idle, and says so to nobody. So no more statements are let in than
 * connections have passed, and one that would be too many waits for a check, which is the statement that opens the next.
 */
export function createConnectionGate ({ size, mayShare, check }: GateOptions): ConnectionGate {
  const passed = new Set<number>()
  const waiting: Array<{ resolve (): void, reject (error: unknown): void }> = []
  let used = 0
  let checking = 0

  // A check may run on a connection that has just become idle, so each of them counts as using one.
  const isFree = () => used + checking < passed.size || (mayShare && passed.size === size)

  function admit (): void {
    while (waiting.length > 0 && isFree()) {
      used++
      waiting.shift()?.resolve()
    }
    while (checking < waiting.length && passed.size + checking < size) {
      checking++
      void openOne()
    }
  }

  async function openOne (): Promise<void> {
    try {
      passed.add(await check())
    } catch (error) {
      waiting.shift()?.reject(error)
    }
    checking--
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
    leave () {
      used--
      admit()
    },
    lost (id) {
      passed.delete(id)
      admit()
    }
  }
}
