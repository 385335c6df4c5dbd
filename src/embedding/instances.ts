import type { FastifyInstance } from 'fastify'
import type { Config } from '../config/config.js'
import type { Connections, openFoundation } from '../foundation.js'
import type { Services } from '../services.js'

/** Opens database and Redis for `latchkey`; tests pass another than the one that follows DATABASE_URL and REDIS_URL. */
export type Opener = typeof openFoundation

/** A Latchkey that an application has mounted, with its configuration and connections. */
export interface Instance extends Connections { config: Config, services: Services }

const instances = new WeakMap<object, Instance>()

/** Keeps the instance for `latchkey/testing`, out of the application's sight. */
export function rememberInstance (host: FastifyInstance, instance: Instance): void {
  instances.set(host.latchkey, instance)
}

/** The Latchkey of `app`, once that is ready. Throws where there is none. */
export function requireInstance (app: FastifyInstance): Instance {
  const instance = app.latchkey === undefined ? undefined : instances.get(app.latchkey)
  if (instance === undefined) throw new Error('Latchkey is not registered in this application')
  return instance
}
