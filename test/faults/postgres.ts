import { findPostgresPrograms, startOwnPostgres } from '../fixtures/own-postgres.js'
import { createTestDatabase, findPostgres } from '../fixtures/servers.js'

/** The fault run's PostgreSQL: its own server if initdb is found, else the tests' server, which can't be frozen. */
export interface PostgresServer {
  port: number
  /** The database's URL through the proxy at `port`. */
  urlThrough (port: number): string
  url: string
  /** Stops or continues every process of the server; null if it isn't ours. */
  freeze: ((frozen: boolean) => void) | null
  stop (): Promise<void>
}

/** Null if neither initdb nor a server is found. */
export async function startPostgres (): Promise<PostgresServer | null> {
  const bin = findPostgresPrograms()
  const own = bin === null ? null : await startOwnPostgres(bin)
  const server = own?.url ?? await findPostgres()
  if (server === null) return null
  const { url, drop } = await createTestDatabase(server)
  return {
    port: Number(new URL(url).port || 5432),
    url,
    urlThrough (port) {
      const through = new URL(url)
      through.hostname = '127.0.0.1'
      through.port = String(port)
      return through.href
    },
    freeze: own?.freeze ?? null,
    async stop () {
      if (own === null) await drop()
      else await own.stop()
    }
  }
}
