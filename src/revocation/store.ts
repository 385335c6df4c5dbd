import { sql } from 'drizzle-orm'
import { rowsOf } from '../../db/rows.js'
import { type Database, type DedicatedConnection, within } from '../database/database.js'
import { byteaArray, textArray } from '../database/literals.js'
import type { RevokingTx } from '../database/transaction.js'
import { standby, UnavailableError } from '../shared/errors.js'
import type { DatabaseIdentity } from '../token-cache/namespace.js'
import { TokenHash } from '../tokens/token.js'
import { maxNamed } from './naming.js'

/**
 * Which entries count (`generation`), and in which Redis server (`incarnation`; null: none is registered). `retired`: how many servers were
 * registered before it.
 */
export interface Epoch { generation: number, incarnation: string | null, retired: number }

/** The epoch and what waits to be settled; ages in milliseconds by the database's clock. */
export interface EpochReading extends Epoch {
  standby: boolean
  confirmedAgeMs: number | null
  /** Infinite if a settlement is dated in the future: the database's clock went back. */
  oldestSettlementMs: number | null
  helpWanted: boolean
  database: DatabaseIdentity
}

/** The epoch and the settlements in PostgreSQL, which all instances agree on. */
export interface EpochStore {
  /** Which database this is; where `mayWrite`, writes down where it was first seen, unless it is a standby. */
  identify (mayWrite: boolean): Promise<DatabaseIdentity>
  /** On a connection of its own; rejects after `timeoutMs`. */
  poll (timeoutMs: number): Promise<EpochReading>
  /** Makes `incarnation` the registered server if the generation is still `generation`; true if it did. */
  register (incarnation: string, generation: number, timeoutMs: number): Promise<boolean>
  /** Notes that an instance uses the registered server. */
  confirm (incarnation: string, timeoutMs: number): Promise<void>
  /** Registers no server any more if nobody has confirmed the registered one for minutes, and makes every entry void; true if it did. */
  forget (generation: number, timeoutMs: number): Promise<boolean>
  /** Throws UnavailableError unless the transaction could write: on a standby "there is nothing to end" proves nothing. */
  requirePrimary (tx: RevokingTx): Promise<void>
  /** The last statement of a revoking transaction. */
  insertSettlement (tx: RevokingTx, id: string, hashes: TokenHash[]): Promise<void>
  /** Deletes the settlements if `incarnation` is the registered server, or none is; returns the epoch at that moment. */
  finish (ids: string[], incarnation: string | null): Promise<Epoch>
  askForHelp (ids: string[]): Promise<void>
  /** Which of `ids` nobody has settled yet. Throws UnavailableError on a standby, which may not have them yet. */
  waiting (ids: string[]): Promise<{ epoch: Epoch, waiting: Set<string> }>
  /** Makes every entry in every cache void, and so settles all settlements committed so far, in one statement. */
  bump (): Promise<Epoch>
  /** Makes every entry void when the transaction commits. */
  bumpWithin (tx: RevokingTx): Promise<void>
  /**
   * Passes to `settle` the hashes of settlements that wait for help or are older than `overdueMs`, at most `maxNamed` of them, and deletes
   * these settlements if it returns the registered incarnation. A settlement with more hashes than that is settled by a bump. Each
   * settlement is held by one instance at a time. Returns how many were taken, and whether more were left.
   */
  assist (overdueMs: number, settle: (hashes: TokenHash[]) => Promise<string | null>): Promise<{ taken: number, more: boolean }>
  close (): Promise<void>
}

interface EpochRow { generation: string | number, incarnation: string | null, retired: number }

interface PollRow extends EpochRow {
  standby: boolean
  confirmed_age: number | null
  oldest: number | null
  help: boolean
  here: string
  home: string | null
}

const epochColumns = 'generation, incarnation, cardinality(retired) as retired'

/** A column's date is rounded to milliseconds, perhaps up; further ahead it can only be if the clock went back since. */
const inFuture = (column: string) => `${column} > clock_timestamp() + interval '1 millisecond'`

/** Part of a statement whose COMMIT a crash must not lose, whatever the server's default is. */
const durable = "case when current_setting('synchronous_commit') in ('off', 'local') then set_config('synchronous_commit', 'on', true) end"

/** A managed server may keep its system identifier to itself: then the oid has to do. */
const identityColumns = (system: boolean) => `
    concat_ws(':', ${system
      ? '(select system_identifier from pg_control_system()), '
      : ''}(select oid from pg_database where datname = current_database()), nullif(current_schema(), 'public')) as here,
    (select convert_from(value, 'UTF8') from verifier_keys where name = 'database') as home`

const pollText = (system: boolean) => `
  select ${epochColumns}, ${identityColumns(system)}, pg_is_in_recovery() as standby,
    (extract(epoch from clock_timestamp() - e.confirmed_at) * 1000)::float8 as confirmed_age,
    (select max(case when ${inFuture('created_at')} then 'infinity'::float8
      else (extract(epoch from clock_timestamp() - created_at) * 1000)::float8 end)
      from cache_settlements) as oldest,
    exists (select from cache_settlements where help) as help
  from cache_epoch e where e.id = 1`

/** A restored database must not use a generation twice, so a bump goes to the clock's milliseconds if those are ahead. */
const nextGeneration = 'greatest(generation + 1, (extract(epoch from clock_timestamp()) * 1000)::bigint)'

const retiring = '(case when incarnation is null then retired else array_append(array_remove(retired, incarnation), incarnation) end)[greatest(1, cardinality(retired) - 62):]'

/**
 * The new server becomes the registered one and every older entry void, in one statement. A server that was replaced may come back only
 * once nobody has confirmed its successor for 15 s: otherwise two masters would take turns, and the cache would never be warm.
 */
const registerText = `
  update cache_epoch set generation = ${nextGeneration}, incarnation = $1::text, confirmed_at = clock_timestamp(),
    retired = ${retiring}
  where id = 1 and generation = $2::bigint and incarnation is distinct from $1::text
    and ($1::text <> all(retired) or confirmed_at is null or ${inFuture('confirmed_at')}
      or confirmed_at < clock_timestamp() - interval '15 seconds')
  returning ${durable}`

const confirmText = 'update cache_epoch set confirmed_at = clock_timestamp() where id = 1 and incarnation = $1::text'

/** The epoch decides, not the number of rows deleted: another instance may have deleted them. */
const finishText = `
  with settled as (delete from cache_settlements where id = any($1::uuid[])
    and exists (select from cache_epoch where id = 1 and (incarnation is null or incarnation = $2::text)))
  select ${epochColumns} from cache_epoch where id = 1`

/** Every settlement that this statement sees was committed before the new generation, so no entry that it could name counts any more. */
const bumpText = `
  with settled as (delete from cache_settlements where id in (select id from cache_settlements for update skip locked))
  update cache_epoch set generation = ${nextGeneration} where id = 1 returning ${epochColumns}, ${durable}`

/** Redis was taken away for good, perhaps: until this, every revocation waits for help that nobody can give. */
const forgetText = `
  update cache_epoch set generation = ${nextGeneration}, incarnation = null, confirmed_at = null, retired = ${retiring}
  where id = 1 and generation = $1::bigint and incarnation is not null and confirmed_at < clock_timestamp() - interval '3 minutes'
  returning ${durable}`

const waitingText = `
  select ${epochColumns}, current_setting('transaction_read_only') = 'on' as standby,
    to_json(array(select id from cache_settlements where id = any($1::uuid[]))) as waiting
  from cache_epoch where id = 1`

export function createEpochStore (database: Database): EpochStore {
  const connection: DedicatedConnection = database.dedicated()
  let system = true

  async function find (): Promise<DatabaseIdentity | undefined> {
    const [row] = await database.prepared<DatabaseIdentity>(`select ${identityColumns(system)}`, [])
    return row
  }

  async function writeHome (here: string): Promise<void> {
    await database.prepared(
      "insert into secrets (name, value) values ('database', convert_to($1::text, 'UTF8')) on conflict do nothing",
      [here]
    )
  }

  return {
    async identify (mayWrite) {
      const found = await find().catch(async error => {
        if (error instanceof UnavailableError) throw error
        system = false
        return await find()
      })
      if (found === undefined) throw missingEpoch()
      if (found.home !== null || !mayWrite) return found
      // A standby can't; its primary will.
      await writeHome(found.here).catch(() => {})
      return await find() ?? found
    },

    async poll (timeoutMs) {
      const [row] = await connection.query<PollRow>(pollText(system), [], timeoutMs)
      if (row === undefined) throw missingEpoch()
      return {
        ...toEpoch(row),
        standby: row.standby,
        confirmedAgeMs: row.confirmed_age,
        oldestSettlementMs: row.oldest,
        helpWanted: row.help,
        database: { here: row.here, home: row.home }
      }
    },

    async register (incarnation, generation, timeoutMs) {
      return (await connection.query(registerText, [incarnation, String(generation)], timeoutMs)).length > 0
    },

    async confirm (incarnation, timeoutMs) {
      await connection.query(confirmText, [incarnation], timeoutMs)
    },

    async forget (generation, timeoutMs) {
      return (await connection.query(forgetText, [String(generation)], timeoutMs)).length > 0
    },

    async requirePrimary (tx) {
      // Read-only for the whole transaction if it began on a standby, even if that has been promoted since.
      const [row] = rowsOf<{ standby: boolean }>(
        await within(tx).execute(sql`select current_setting('transaction_read_only') = 'on' as standby`)
      )
      if (row?.standby !== false) throw standby()
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
      const [row] = await database.prepared<EpochRow & { standby: boolean, waiting: string[] }>(waitingText, [textArray(ids)])
      if (row?.standby === true) throw standby()
      return { epoch: one(row === undefined ? [] : [row]), waiting: new Set(row?.waiting) }
    },

    bump: async () => one(await database.prepared<EpochRow>(bumpText, [])),

    async bumpWithin (tx) {
      await within(tx).execute(
        sql`update cache_epoch set generation = ${sql.raw(nextGeneration)} where id = 1 returning ${sql.raw(durable)}`
      )
    },

    async assist (overdueMs, settle) {
      return await database.transaction(async tx => {
        const waiting = rowsOf<{ id: string, size: number }>(await within(tx).execute(sql`
          select id, cardinality(token_hashes) as size from cache_settlements
          where help or created_at < clock_timestamp() - make_interval(secs => ${overdueMs / 1000}) or ${sql.raw(inFuture('created_at'))}
          order by created_at limit 200 for update skip locked`))
        if (waiting.length === 0) return { taken: 0, more: false }
        const oversized = waiting.filter(({ size }) => size > maxNamed)
        if (oversized.length > 0) {
          // Left by a version that knew no limit: too many to overwrite one by one in time.
          await within(tx).execute(
            sql`update cache_epoch set generation = ${sql.raw(nextGeneration)} where id = 1 returning ${sql.raw(durable)}`
          )
          await within(tx).execute(sql`delete from cache_settlements where id = any(${idsOf(waiting)}::uuid[])`)
          return { taken: waiting.length, more: true }
        }
        const chosen = upTo(maxNamed, waiting)
        const [row] = rowsOf<{ hexes: string | null }>(await within(tx).execute(sql`
          select string_agg(encode(h, 'hex'), ',') as hexes from cache_settlements, unnest(token_hashes) h
            where id = any(${idsOf(chosen)}::uuid[])`))
        const incarnation = await settle((row?.hexes ?? '').split(',').filter(hex => hex !== '').map(hex => new TokenHash(hex)))
        if (incarnation === null) return { taken: 0, more: false }
        await within(tx).execute(sql`
          delete from cache_settlements where id = any(${idsOf(chosen)}::uuid[])
          and exists (select from cache_epoch where id = 1 and incarnation = ${incarnation})`)
        return { taken: chosen.length, more: chosen.length < waiting.length || waiting.length === 200 }
      })
    },

    close: () => connection.close()
  }
}

function toEpoch (row: EpochRow): Epoch {
  return { generation: Number(row.generation), incarnation: row.incarnation, retired: row.retired }
}

function one (rows: EpochRow[]): Epoch {
  const [row] = rows
  if (row === undefined) throw missingEpoch()
  return toEpoch(row)
}

const missingEpoch = () => new Error('the database has no cache epoch: run the migrations')

const idsOf = (rows: Array<{ id: string }>) => textArray(rows.map(row => row.id))

/** The first rows whose sizes are at most `limit` together; one at least. */
function upTo<Row extends { size: number }> (limit: number, rows: Row[]): Row[] {
  let sum = 0
  const over = rows.findIndex(({ size }, i) => (sum += size) > limit && i > 0)
  return over === -1 ? rows : rows.slice(0, over)
}
