import { and, inArray, isNotNull, lt } from 'drizzle-orm'
import { tokens } from '../../db/schema.js'
import type { Database, Parameter } from '../database/database.js'
import { textArray } from '../database/literals.js'

/** Where last uses are written. */
export interface LastUseStore {
  /**
   * Sets `last_used_at` of rows forward, in one statement that never waits for a lock: `used` maps ids to milliseconds since 1970. Returns
   * the ids of rows it left out because another transaction holds them.
   */
  touch (table: 'tokens' | 'sessions', used: Map<string, number>): Promise<string[]>
  /**
   * Erases the secrets of refresh tokens consumed before `before`: from then on nobody can derive their successors. Locked rows are left
   * for the next time: a login locks several in its own order, and each would wait for the other.
   */
  eraseSecrets (before: Date): Promise<void>
}

export function createLastUseStore (database: Pick<Database, 'prepared' | 'query'>): LastUseStore {
  return {
    async touch (table, used) {
      const rows = await database.prepared<{ id: string }>(touchText(table), touchParameters(used))
      return rows.map(row => row.id)
    },

    async eraseSecrets (before) {
      await database.query(db => {
        const old = db.select({ id: tokens.id }).from(tokens).where(and(isNotNull(tokens.successorSecret), lt(tokens.consumedAt, before)))
          .for('no key update', { skipLocked: true })
        return db.update(tokens).set({ successorSecret: null }).where(inArray(tokens.id, old))
      })
    }
  }
}

/** The statement of `touch`; its parameters are those of touchParameters. */
export function touchText (table: 'tokens' | 'sessions'): string {
  return `
    with used as materialized (select * from unnest($1::uuid[], $2::float8[]) as u (id, at)),
    free as materialized (select t.ctid as place, t.id, to_timestamp(u.at / 1000) as at from used u join ${table} t on t.id = u.id
      where t.last_used_at is null or t.last_used_at < to_timestamp(u.at / 1000) for no key update of t skip locked),
    done as (update ${table} t set last_used_at = free.at from free where t.ctid = free.place)
    select t.id from used u join ${table} t on t.id = u.id where (select count(*) from free) < (select count(*) from used)
      and (t.last_used_at is null or t.last_used_at < to_timestamp(u.at / 1000)) and t.id not in (select id from free)`
}

function touchParameters (used: Map<string, number>): Parameter[] {
  return [textArray([...used.keys()]), textArray([...used.values()].map(String))]
}
