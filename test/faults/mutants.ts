import type { Cluster, Redis } from 'ioredis'
import type { Foundation } from '../../src/app.js'

/** Rules that can be removed from the protocol, and the faults under which their absence shows soonest. */
export const mutants = {
  'fill-without-lease': ['slow-fills'],
  'no-generation-check': ['redis-old-snapshot', 'redis-frozen'],
  '2xx-before-settling': ['none', 'slow-fills'],
  'personal-not-named': ['none']
} as const

export type Mutant = keyof typeof mutants

export function isMutant (name: string): name is Mutant {
  return Object.hasOwn(mutants, name)
}

/** The hooks of `buildApp` that remove the rule; `path` is the current request's. */
export function mutate (
  name: Mutant,
  redis: Redis | Cluster,
  generation: () => number,
  path: () => string
): Pick<Foundation, 'backend' | 'settle'> {
  switch (name) {
    case 'fill-without-lease': return {
      backend: real => ({
        get connection () { return real.connection },
        get: real.get,
        takeLease: real.takeLease,
        compareAndSet: async (key, _expected, value, ttlMs) => await redis.set(key, value, 'PX', ttlMs) === 'OK',
        overwrite: real.overwrite.bind(real),
        identify: real.identify,
        close: real.close
      })
    }
    case 'no-generation-check': return {
      backend: real => ({
        get connection () { return real.connection },
        takeLease: real.takeLease,
        async get (key) {
          const there = await real.get(key)
          const written = Number(/^V(\d+)\|/.exec(there ?? '')?.[1])
          return there !== null && written < generation() ? `V${generation()}${there.slice(there.indexOf('|'))}` : there
        },
        compareAndSet: real.compareAndSet,
        overwrite: real.overwrite.bind(real),
        identify: real.identify,
        close: real.close
      })
    }
    case '2xx-before-settling': return { settle: real => ({ ...real, settle: async () => {} }) }
    case 'personal-not-named': return {
      settle: real =>
        ({ ...real, settle: committed => real.settle(path().startsWith('/v1/tokens/') ? { ...committed, hashes: [] } : committed) })
    }
  }
}
