import { findNewPgbouncer, findPgbouncer } from '../fixtures/pgbouncer.js'
import { findPackagedPostgres } from '../fixtures/postgres-programs.js'
import { type Fault, faults } from './faults.js'
import type { PostgresSetup } from './postgres.js'
import { postgresFaults, standbyFaults } from './postgres-faults.js'
import { setFaults } from './set-faults.js'

/** The servers of a run, and the faults that are struck on them. */
export interface Setup {
  /** One server behind proxies, a master that Sentinels watch, or a cluster of six. */
  redis: 'server' | 'sentinel' | 'cluster'
  postgres: PostgresSetup
  faults: Record<string, Fault>
  /** Its part of the minutes. */
  share: number
  /** What isn't installed here, or null. */
  missing: string | null
  /** Whether it may be missing in CI too. */
  optional?: boolean
}

const machine: PostgresSetup = { packaged: false, standby: false, pgbouncer: null }
const none: Fault = { short: true, strike: ({ hold }) => hold(1_500) }
const pooledFaults = {
  none,
  'postgres-killed': postgresFaults['postgres-killed'] as Fault,
  'redis-killed': faults['redis-killed'] as Fault
}
const packagedIsMissing = findPackagedPostgres() === null ? 'PostgreSQL 18: npm ci --prefix test/slow' : null

/** All setups by name. */
export const setups = {
  server: { redis: 'server', postgres: machine, faults: { ...faults, ...postgresFaults }, share: 0.45, missing: null },
  sentinel: { redis: 'sentinel', postgres: machine, faults: setFaults.sentinel, share: 0.15, missing: null },
  cluster: { redis: 'cluster', postgres: machine, faults: setFaults.cluster, share: 0.15, missing: null },
  standby: { redis: 'server', postgres: { ...machine, standby: true }, faults: { none, ...standbyFaults }, share: 0.08, missing: null },
  'standby-18': {
    redis: 'server',
    postgres: { packaged: true, standby: true, pgbouncer: null },
    faults: { none, ...postgresFaults, ...standbyFaults },
    share: 0.09,
    missing: packagedIsMissing
  },
  pooler: {
    redis: 'server',
    postgres: { ...machine, pgbouncer: findPgbouncer() },
    faults: pooledFaults,
    share: 0.04,
    missing: findPgbouncer() === null ? 'PgBouncer: install it' : null
  },
  'pooler-new': {
    redis: 'server',
    postgres: { packaged: true, standby: false, pgbouncer: findNewPgbouncer() },
    faults: pooledFaults,
    share: 0.04,
    missing: findNewPgbouncer() === null ? 'a newer PgBouncer: its path in TEST_PGBOUNCER_NEW' : packagedIsMissing,
    optional: true
  }
} satisfies Record<string, Setup>

export type SetupName = keyof typeof setups

export const setupNames = Object.keys(setups) as SetupName[]
