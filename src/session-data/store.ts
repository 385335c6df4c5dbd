import { eq } from 'drizzle-orm'
import { sessionData } from '../../db/schema.js'
import { type Database, within } from '../database/database.js'
import { textArray } from '../database/literals.js'
import type { RevokingTx, Tx } from '../database/transaction.js'
import { UnavailableError } from '../shared/errors.js'
import { nilUuid } from '../shared/ids.js'
import type { Found } from '../token-cache/found.js'
import type { Kept, KeptEntry } from './entry.js'

/** What a session has before anything was written. */
const nothing: Kept = { version: nilUuid, text: '{}' }

/** The look-up behind every read that the cache can't answer. */
export interface SessionDataLookUp {
  /**
   * The data of these sessions (UUIDs) at one instant after the call, without sessions that have ended. Throws UnavailableError on a
   * standby.
   */
  find (sessionIds: string[], nowMs: number): Promise<Map<string, Found<KeptEntry>>>
}

export interface SessionDataStore extends SessionDataLookUp {
  /** The data of a session whose user's row `tx` has locked. */
  findLocked (tx: Tx, sessionId: string): Promise<Kept>
  /** Replaces it. The caller names the session's entry. */
  write (tx: RevokingTx, sessionId: string, kept: Kept): Promise<void>
}

/** Times as PostgreSQL writes them in JSON, whatever its DateStyle. */
type JsonRow = [sessionId: string | null, expiresAt: string, lastUsedAt: string | null]

interface Answer { standby: boolean, question: string, json: string, version: string | null, text: string | null }

/** The left join gives one row at least: it reveals a standby even if no session is found. */
const lookUpText = (lastUsedAt: 's.last_used_at' | 'null') => `
  select r.standby, r.question, json_build_array(s.id, s.expires_at, ${lastUsedAt})::text as json,
    d.version::text as version, d.data as text
  from (select pg_is_in_recovery() as standby, $2::text as question) r
  left join (sessions s left join session_data d on d.session_id = s.id) on s.id = any($1::uuid[]) and s.ended_at is null`

/** Counts the look-ups of this process: an answer repeats the number of its question. */
let questions = Math.floor(Math.random() * 1e9)

export function createSessionDataLookUp (database: Pick<Database, 'prepared'>, idleSeconds: number | null): SessionDataLookUp {
  const text = lookUpText(idleSeconds === null ? 'null' : 's.last_used_at')

  return {
    async find (sessionIds, nowMs) {
      const question = String(++questions)
      const rows = await database.prepared<Answer>(text, [textArray(sessionIds), question])
      if (rows[0]?.standby !== false) throw unanswered('STANDBY')
      const asked = new Set(sessionIds)
      const found = new Map<string, Found<KeptEntry>>()
      for (const row of rows) {
        const [sessionId, expiresAt, lastUsedAt] = JSON.parse(row.json) as JsonRow
        // Behind a pooler that mixes up prepared statements this may be the answer to another look-up.
        if (row.question !== question || (sessionId !== null && !asked.has(sessionId))) throw unanswered('ANSWER')
        if (sessionId === null) continue
        const ends = {
          expiresAtMs: Date.parse(expiresAt),
          ...idleSeconds === null || lastUsedAt === null ? {} : { idleAtMs: Date.parse(lastUsedAt) + idleSeconds * 1000 }
        }
        const isOver = ends.expiresAtMs <= nowMs || (ends.idleAtMs !== undefined && ends.idleAtMs <= nowMs)
        const { version = null, text = null } = row
        const kept = version === null || text === null ? nothing : { version, text }
        found.set(sessionId, isOver ? { state: 'over' } : { state: 'live', value: { ...ends, ...kept } })
      }
      return found
    }
  }
}

const unanswered = (detail: string) => Object.assign(new UnavailableError(), { retryAfterSeconds: 2, detail })

export function createSessionDataStore (database: Database, idleSeconds: number | null): SessionDataStore {
  return {
    ...createSessionDataLookUp(database, idleSeconds),

    async findLocked (tx, sessionId) {
      const [row] = await within(tx).select({ version: sessionData.version, text: sessionData.data }).from(sessionData)
        .where(eq(sessionData.sessionId, sessionId))
      return row ?? nothing
    },

    async write (tx, sessionId, { version, text }) {
      await within(tx).insert(sessionData).values({ sessionId, version, data: text })
        .onConflictDoUpdate({ target: sessionData.sessionId, set: { version, data: text } })
    }
  }
}
