import type { FastifyInstance } from 'fastify'
import type { Config } from '../config/config.js'
import type { Connections, openFoundation } from '../foundation.js'
import type { Services } from '../services.js'

/** What `latchkey` stands on where that isn't DATABASE_URL and REDIS_URL: its option for tests. */
export type Opener = typeof openFoundation

/** A Latchkey within an application, with what it stands on. */
export interface Parts extends Connections { config: Config, services: Services }

const mounted = new WeakMap<object, Parts>()

/** Keeps what `latchkey/testing` needs of an application, apart from what the application itself sees. */
export function remember (host: FastifyInstance, parts: Parts): void {
  mounted.set(host.latchkey, parts)
}

/** The Latchkey of `app`, once that is ready. Throws where there is none. */
export function requireMounted (app: FastifyInstance): Parts {
  const parts = app.latchkey === undefined ? undefined : mounted.get(app.latchkey)
  if (parts === undefined) throw new Error('Latchkey is not registered in this application')
  return parts
}
