import { byteaArray, type Database } from '../database/database.js'
import { UnavailableError } from '../shared/errors.js'
import { Recent } from '../shared/repeat-cache.js'
import type { User } from '../users/user.js'
import { type AnyPrincipal, frozen } from './principal.js'

/** What the database says of a hash. Only `revoked` is final for every instance: clocks differ on what is `over`, and a user may be enabled again. */
export type Found = { state: 'live', principal: AnyPrincipal } | { state: 'revoked' } | { state: 'over' } | { state: 'disabled' } | { state: 'unknown' }

/** A token's row with its session's and its user's; moments as PostgreSQL writes them in JSON. */
type Told = [
  revoked: boolean, disabled: boolean,
  token: [id: string, kind: string, abilities: string[], createdAt: string, expiresAt: string | null],
  session: [id: string | null, deviceName: string | null, createdAt: string, expiresAt: string, lastUsedAt: string | null],
  user: [id: string | null, email: string, emailVerifiedAt: string | null, name: string | null, role: User['role'], createdAt: string]
]

/** One row at least: the left join tells a standby even where no token is found. As text, which is read anew only where it has changed. */
const findText = (lastUsedAt: 's.last_used_at' | 'null') => `
  select r.standby, encode(t.hash, 'hex') as hash, json_build_array(t.revoked_at is not null, u.disabled_at is not null,
    json_build_array(t.id, t.kind, t.abilities, t.created_at, t.expires_at),
    json_build_array(s.id, s.device_name, s.created_at, s.expires_at, ${lastUsedAt}),
    json_build_array(u.id, u.email, u.email_verified_at, u.name, u.role, u.created_at))::text as told
  from (select pg_is_in_recovery() as standby) r
  left join (tokens t left join users u on u.id = t.user_id left join sessions s on s.id = t.session_id) on t.hash = any($1::bytea[]) and t.kind <> 'refresh'`

/** Looks hashes up in PostgreSQL, at one instant after the call. Throws UnavailableError on a standby. */
export function createFind (database: Pick<Database, 'prepared'>, idleSeconds: number | null) {
  const text = findText(idleSeconds === null ? 'null' : 's.last_used_at')
  const last = new Recent<{ told: string, principal: AnyPrincipal }>()

  return async (hexes: string[], nowMs: number): Promise<Map<string, Found>> => {
    const rows = await database.prepared<{ standby: boolean, hash: string | null, told: string }>(text, [byteaArray(hexes)])
    // A standby lags: it would accept what the primary has revoked, and refuse what it has just issued.
    if (rows.length === 0 || rows[0]?.standby !== false) throw Object.assign(new UnavailableError(), { retryAfterSeconds: 2, detail: 'STANDBY' })
    const found = new Map<string, Found>()
    for (const { hash, told } of rows) if (hash !== null) found.set(hash, read(hash, told, nowMs))
    return found
  }

  /** The same words make the same principal, which whoever has it may know something of; only time goes on. */
  function read (hash: string, told: string, nowMs: number): Found {
    const same = last.get(hash)
    if (same?.told === told && !isOver(same.principal, nowMs)) return { state: 'live', principal: same.principal }
    const found = judge(JSON.parse(told) as Told, nowMs, idleSeconds)
    if (found.state === 'live') last.set(hash, { told, principal: found.principal })
    return found
  }
}

function judge ([revoked, disabled, token, session, user]: Told, nowMs: number, idleSeconds: number | null): Found {
  if (revoked) return { state: 'revoked' }
  const principal = principalOf(token, session, user, idleSeconds)
  if (isOver(principal, nowMs)) return { state: 'over' }
  return disabled ? { state: 'disabled' } : { state: 'live', principal: frozen(principal) }
}

function principalOf ([tokenId, kind, abilities, issuedAt, expiresAt]: Told[2], [sessionId, deviceName, openedAt, endsAt, lastUsedAt]: Told[3], [userId, email, verifiedAt, name, role, createdAt]: Told[4], idleSeconds: number | null): AnyPrincipal {
  const issuedAtMs = Date.parse(issuedAt)
  const token = { id: tokenId, kind, abilities, expiresAt: moment(expiresAt) }
  const tokenEndsMs = expiresAt === null ? Number.MAX_SAFE_INTEGER : Date.parse(expiresAt)
  if (userId === null) return { issuedAtMs, expiresAtMs: tokenEndsMs, token, session: null, user: null }
  return {
    issuedAtMs,
    expiresAtMs: sessionId === null ? tokenEndsMs : Math.min(tokenEndsMs, Date.parse(endsAt)),
    ...sessionId === null || idleSeconds === null || lastUsedAt === null ? {} : { idleAtMs: Date.parse(lastUsedAt) + idleSeconds * 1000 },
    token,
    session: sessionId === null ? null : { id: sessionId, deviceName, createdAt: moment(openedAt), expiresAt: moment(endsAt) },
    user: { id: userId, email, emailVerifiedAt: moment(verifiedAt), name, role, createdAt: moment(createdAt) }
  }
}

function isOver ({ expiresAtMs, idleAtMs }: AnyPrincipal, nowMs: number): boolean {
  return expiresAtMs <= nowMs || (idleAtMs !== undefined && idleAtMs <= nowMs)
}

/** As the wire has it: RFC 3339 in UTC, to the millisecond. */
function moment<Text extends string | null> (text: Text): Text {
  return (text === null ? null : new Date(text).toISOString()) as Text
}
