import { sql } from 'drizzle-orm'
import { type Database, type DedicatedConnection, within } from '../database/database.js'
import { byteaArray, textArray } from '../database/literals.js'
import type { RevokingTx } from '../database/transaction.js'
import { TokenHash } from '../tokens/token.js'

/** Which entries count (`generation`), and in which Redis server (`incarnation`; null: no cache was ever registered). */
export interface Epoch { generation: number, incarnation: string | null }

/** The epoch and what waits to be settled; ages in milliseconds by the database's clock. */
export interface EpochReading extends Epoch {
  standby: boolean
  confirmedAgeMs: number | null
  oldestSettlementMs: number | null
  helpWanted: boolean
}

/** The epoch and the settlements in PostgreSQL, which all instances agree on. */
export interface EpochStore {
  /** On a connection of its own; rejects after `timeoutMs`. */
  poll (timeoutMs: number): Promise<EpochReading>
  /** Makes `incarnation` the registered server if the generation is still `generation`; true if it did. */
  register (incarnation: string, generation: number, timeoutMs: number): Promise<boolean>
  /** Notes that an instance uses the registered server. */
  confirm (incarnation: string, timeoutMs: number): Promise<void>
  /** The last statement of a revoking transaction. */
  insertSettlement (tx: RevokingTx, id: string, hashes: TokenHash[]): Promise<void>
  /** Deletes the settlements if `incarnation` is the registered server, or none is; returns the epoch at that moment. */
  finish (ids: string[], incarnation: string | null): Promise<Epoch>
  askForHelp (ids: string[]): Promise<void>
  /** Which of `ids` nobody has settled yet. */
  waiting (ids: string[]): Promise<{ epoch: Epoch, waiting: Set<string> }>
  /** Makes every entry in every cache void and deletes the settlements `ids`, in one statement. */
  bump (ids: string[]): Promise<Epoch>
  /** Makes every entry void when the transaction commits. */
  bumpWithin (tx: RevokingTx): Promise<void>
  /**
   * Passes to `settle` the hashes of settlements that wait for help or are older than `overdueMs`, and deletes these if it returns the
   * registered incarnation. Each settlement is held by one instance at a time. Returns how many there were.
   */
  assist (overdueMs: number, settle: (hashes: TokenHash[]) => Promise<string | null>): Promise<number>
  close (): Promise<void>
}

interface EpochRow { generation: string | number, incarnation: string | null }

interface PollRow extends EpochRow { standby: boolean, confirmed_age: number | null, oldest: number | null, help: boolean }

const pollText = `
  select e.generation, e.incarnation, pg_is_in_recovery() as standby,
    (extract(epoch from clock_timestamp() - e.confirmed_at) * 1000)::float8 as confirmed_age,
    (select (extract(epoch from clock_timestamp() - min(created_at)) * 1000)::float8 from cache_settlements) as oldest,
    exists (select from cache_settlements where help) as help
  from cache_epoch e where e.id = 1`

/** A restored database must not use a generation twice, so a bump goes to the clock's milliseconds if those are ahead. */
const nextGeneration = 'greatest(generation + 1, (extract(epoch from clock_timestamp()) * 1000)::bigint)'

/**
 * The new server becomes the registered one and every older entry void, in one statement. A server that was replaced may come back only
 * once nobody has confirmed its successor for 15 s: otherwise two masters would take turns, and the cache would never be warm.
 */
const registerText = `
  update cache_epoch set generation = ${nextGeneration}, incarnation = $1::text, confirmed_at = clock_timestamp(),
    retired = (case when incarnation is null then retired else array_append(array_remove(retired, incarnation), incarnation) end)[greatest(1, cardinality(retired) - 62):]
  where id = 1 and generation = $2::bigint and incarnation is distinct from $1::text
    and ($1::text <> all(retired) or confirmed_at is null or confirmed_at < clock_timestamp() - interval '15 seconds')
  returning generation, incarnation`

/** Part of a statement whose COMMIT a crash must not lose, whatever the server's default is. */
const durable = "case when current_setting('synchronous_commit') in ('off', 'local') then set_config('synchronous_commit', 'on', true) end"

const confirmText = 'update cache_epoch set confirmed_at = clock_timestamp() where id = 1 and incarnation = $1::text returning generation, incarnation'

/** The epoch decides, not the number of rows deleted: another instance may have deleted them. */
const finishText = `
  with settled as (delete from cache_settlements where id = any($1::uuid[])
    and exists (select from cache_epoch where id = 1 and (incarnation is null or incarnation = $2::text)))
  select generation, incarnation from cache_epoch where id = 1`

const bumpText = `
  with settled as (delete from cache_settlements where id in
    (select id from cache_settlements where id = any($1::uuid[]) for update skip locked))
  update cache_epoch set generation = ${nextGeneration} where id = 1 returning generation, incarnation`

const waitingText = `
  select e.generation, e.incarnation, to_json(array(select id from cache_settlements where id = any($1::uuid[]))) as waiting
  from cache_epoch e where e.id = 1`

export function createEpochStore (database: Database): EpochStore {
  const connection: DedicatedConnection = database.dedicated()

  return {
    async poll (timeoutMs) {
      const [row] = await connection.query<PollRow>(pollText, [], timeoutMs)
      if (row === undefined) throw missingEpoch()
      return { ...toEpoch(row), standby: row.standby, confirmedAgeMs: row.confirmed_age, oldestSettlementMs: row.oldest, helpWanted: row.help }
    },

    async register (incarnation, generation, timeoutMs) {
      return (await connection.query(registerText, [incarnation, String(generation)], timeoutMs)).length > 0
    },

    async confirm (incarnation, timeoutMs) {
      await connection.query(confirmText, [incarnation], timeoutMs)
    },

    async insertSettlement (tx, id, hashes) {
      // A COMMIT that a crash could lose must not be answered, hence synchronous_commit.
      await within(tx).execute(sql`
        insert into cache_settlements (id, token_hashes, created_at, help)
        values (${id}, ${byteaArray(hashes.map(hash => hash.hex()))}::bytea[], clock_timestamp(), false)
        returning ${sql.raw(durable)}`)
    },

    finish: async (ids, incarnation) => one(await database.prepared<EpochRow>(finishText, [textArray(ids), incarnation])),

    async askForHelp (ids) {
      await database.prepared('update cache_settlements set help = true where id = any($1::uuid[])', [textArray(ids)])
    },

    async waiting (ids) {
      const [row] = await database.prepared<EpochRow & { waiting: string[] }>(waitingText, [textArray(ids)])
      return { epoch: one(row === undefined ? [] : [row]), waiting: new Set(row?.waiting) }
    },

    bump: async ids => one(await database.prepared<EpochRow>(bumpText, [textArray(ids)])),

    async bumpWithin (tx) {
      await within(tx).execute(sql`update cache_epoch set generation = ${sql.raw(nextGeneration)} where id = 1 returning ${sql.raw(durable)}`)
    },

    async assist (overdueMs, settle) {
      return await database.transaction(async tx => {
        const result = await within(tx).execute(sql`
          select id, (select string_agg(encode(h, 'hex'), ',') from unnest(token_hashes) h) as hexes from cache_settlements
          where help or created_at < clock_timestamp() - make_interval(secs => ${overdueMs / 1000})
          order by created_at limit 200 for update skip locked`)
        const rows = (Array.isArray(result) ? result : (result as unknown as { rows: unknown[] }).rows) as Array<{ id: string, hexes: string | null }>
        if (rows.length === 0) return 0
        const incarnation = await settle(rows.flatMap(({ hexes }) => hexes === null ? [] : hexes.split(',')).map(hex => new TokenHash(hex)))
        if (incarnation === null) return 0
        await within(tx).execute(sql`
          delete from cache_settlements where id = any(${textArray(rows.map(row => row.id))}::uuid[])
          and exists (select from cache_epoch where id = 1 and incarnation = ${incarnation})`)
        return rows.length
      })
    },

    close: () => connection.close()
  }
}

function toEpoch (row: EpochRow): Epoch {
  return { generation: Number(row.generation), incarnation: row.incarnation }
}

function one (rows: EpochRow[]): Epoch {
  const [row] = rows
  if (row === undefined) throw missingEpoch()
  return toEpoch(row)
}

const missingEpoch = () => new Error('the database has no cache epoch: run the migrations')
