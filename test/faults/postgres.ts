import { type OwnPostgres, startOwnPostgres } from '../fixtures/own-postgres.js'
import { type Pgbouncer, startPgbouncer } from '../fixtures/pgbouncer.js'
import { findPackagedPostgres, findPostgresPrograms } from '../fixtures/postgres-programs.js'
import { createTestDatabase, findPostgres } from '../fixtures/servers.js'

/** Which PostgreSQL a run uses: the machine's or the packaged one, alone, with a synchronous standby, or behind this PgBouncer. */
export interface PostgresSetup { packaged: boolean, standby: boolean, pgbouncer: string | null }

/** The fault run's PostgreSQL: its own server if there is one to start, else the tests' server, which can't be frozen. */
export interface PostgresServer {
  /** Where the APIs' proxies lead at first. */
  port: number
  /** The database's URL through the proxy at `port`. */
  urlThrough (port: number): string
  /** The database's URL, without any proxy. */
  readonly url: string
  /** The primary; null if the server isn't ours. */
  readonly own: OwnPostgres | null
  readonly standby: OwnPostgres | null
  /** Kills the primary and promotes the standby, which gets a standby of its own by `follow`. */
  promote (): Promise<void>
  follow (): Promise<void>
  stop (): Promise<void>
}

/** Null if neither initdb nor a server is found. */
export async function startPostgres ({
  packaged,
  standby: wantsStandby,
  pgbouncer: program
}: PostgresSetup): Promise<PostgresServer | null> {
  const bin = packaged ? findPackagedPostgres() : findPostgresPrograms()
  let own = bin === null ? null : await startOwnPostgres(bin, ['wal_retrieve_retry_interval=100ms', 'wal_buffers=64MB'])
  const server = own?.url ?? (packaged || wantsStandby ? null : await findPostgres())
  if (server === null) return null
  const database = await createTestDatabase(server)
  const pgbouncer: Pgbouncer | null = program === null || own === null ? null : await startPgbouncer(program, own.port)
  let standby: OwnPostgres | null = null
  const here = () => {
    const url = new URL(database.url)
    if (own !== null) url.port = String(own.port)
    return url
  }

  async function follow (): Promise<void> {
    if (own === null || standby !== null) return
    standby = await own.follow()
    // A commit is acknowledged once the standby has it, so that a promotion loses none.
    await own.run('alter system set synchronous_standby_names = \'*\'', 'select pg_reload_conf()')
  }

  if (wantsStandby) await follow()
  return {
    port: pgbouncer?.port ?? Number(here().port || 5432),
    urlThrough (port) {
      const through = here()
      Object.assign(through, { hostname: '127.0.0.1', port: String(port) })
      if (pgbouncer !== null) through.search = 'prepare=false'
      return through.href
    },
    get url () { return here().href },
    get own () { return own },
    get standby () { return standby },
    follow,
    async promote () {
      if (own === null || standby === null) throw new Error('there is no standby to promote')
      await own.kill()
      await standby.promote()
      await own.stop()
      own = standby
      standby = null
    },
    async stop () {
      await pgbouncer?.stop()
      await standby?.stop()
      if (own === null) await database.drop()
      else await own.stop()
    }
  }
}
