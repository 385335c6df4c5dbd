import { PGlite } from '@electric-sql/pglite'
import { drizzle } from 'drizzle-orm/pglite'
import { addRows, type Connection, migrate } from '../../db/migrate.js'
import type { Database, DedicatedConnection, Parameter, Queries } from '../database/database.js'
import { translateError } from '../database/errors.js'
import { runTransaction, type Tx } from '../database/transaction.js'
import { withTimeout } from '../shared/timeout.js'

interface PgliteOptions { schema?: string, image?: Blob }

/**
 * PostgreSQL in this process, kept in `folder` or in memory, started from the dump `image`; the tables are in `schema`. Statements take
 * turns: it has one session.
 */
export async function createPglite (
  folder: string | null, { schema = 'public', image }: PgliteOptions = {}
): Promise<Database & { dump (): Promise<Blob> }> {
  const place = { ...folder === null ? {} : { dataDir: folder }, ...image === undefined ? {} : { loadDataDir: image } }
  const client = await PGlite.create(place)
  await client.exec(`set search_path to "${schema}"`)
  const queries = drizzle(client) as unknown as Queries

  async function prepared<Row> (text: string, parameters: Parameter[]): Promise<Row[]> {
    try {
      return (await client.query<Row>(text, parameters)).rows
    } catch (error) {
      throw translateError(error)
    }
  }

  const dedicated: DedicatedConnection = {
    query: (text, parameters, timeoutMs) => withTimeout(prepared(text, parameters), timeoutMs, () => {}),
    close: async () => {}
  }

  return {
    embedded: true,
    async query (work) {
      try {
        return await work(queries)
      } catch (error) {
        throw translateError(error)
      }
    },
    prepared,
    async transaction<T> (work: (tx: Tx) => Promise<T>) {
      try {
        return await runTransaction(begun => queries.transaction(tx => begun(tx as unknown as Tx)), work)
      } catch (error) {
        throw translateError(error)
      }
    },
    dedicated: () => dedicated,
    vacuum: async () => { await prepared('vacuum', []) },
    async migrate () {
      const connection = queries as unknown as Connection
      await migrate(connection, schema)
      await addRows(connection)
    },
    close: () => client.close(),
    dump: async () => await client.dumpDataDir('none')
  }
}
