import { randomUUID } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'

/** Request ids, unique over all processes: a random UUID of this one and a number. They grant nothing, so they need not be secret. */
export function createRequestIds (): () => string {
  const own = randomUUID()
  let number = 0
  return () => `${own}-${++number}`
}

type Write = FastifyBaseLogger['info']

/** A request's logger. The real child logger is created at the first line, because most requests log nothing. */
export class RequestLogger implements FastifyBaseLogger {
  readonly #parent: FastifyBaseLogger
  readonly #bindings: Record<string, unknown>
  readonly #options: object | undefined
  #made: FastifyBaseLogger | null = null

  constructor (parent: FastifyBaseLogger, bindings: Record<string, unknown>, options?: object) {
    this.#parent = parent
    this.#bindings = bindings
    this.#options = options
  }

  get #real (): FastifyBaseLogger { return this.#made ??= this.#parent.child(this.#bindings, this.#options) }
  get level (): string { return this.#real.level }
  set level (level: string) { this.#real.level = level }

  info (...line: unknown[]): void { this.#real.info(...line as Parameters<Write>) }
  warn (...line: unknown[]): void { this.#real.warn(...line as Parameters<Write>) }
  error (...line: unknown[]): void { this.#real.error(...line as Parameters<Write>) }
  fatal (...line: unknown[]): void { this.#real.fatal(...line as Parameters<Write>) }
  debug (...line: unknown[]): void { this.#real.debug(...line as Parameters<Write>) }
  trace (...line: unknown[]): void { this.#real.trace(...line as Parameters<Write>) }
  silent (...line: unknown[]): void { this.#real.silent(...line as Parameters<Write>) }
  child (bindings: Record<string, unknown>, options?: object): FastifyBaseLogger { return this.#real.child(bindings, options) }
}
