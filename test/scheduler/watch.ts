import { TokenHash } from '../../src/tokens/token.js'
import type { Api, Deployment } from './deployment.js'

/** What the oracle knows about a token. */
export interface Watched { plain: string, hash: string, userId: string, sessionId: string, /** Answered 2xx. */ ended: boolean }

/** A committed revocation without an answer must end the token this long after its COMMIT. */
const overdueMs = 3_000 + 1_500
/** A revoking request must be answered within this, plus the time the database takes. */
const answerMs = 5_000

export interface Tally {
  reads: number
  hits: number
  errors: number
  revocations: number
  refused: number
  slowestMs: number, /** Revoked tokens that had a cache entry. */
  cachedBefore: number
}

export const createTally = (): Tally => ({ reads: 0, hits: 0, errors: 0, revocations: 0, refused: 0, slowestMs: 0, cachedBefore: 0 })

/** Reads and revokes as clients do, and records every violation of the promise. */
export function createWatch (deployment: Deployment, tally: Tally = createTally()) {
  const { schedule, database } = deployment
  const violations: string[] = []
  const renamed = new Map<string, number>()
  let underWay = 0
  let excusedUntil = 0

  function violate (text: string): void {
    violations.push(`${text}, at ${schedule.now().toFixed(1)} ms`)
    schedule.note(`VIOLATION: ${text}`)
  }

  async function read (api: Api, token: Watched): Promise<'accepted' | 'refused' | 'error'> {
    const row = () => database.tokens.get(token.hash)
    const late = token.ended
    const version = renamed.get(token.userId) ?? 0
    const committedAt = row()?.committedAt ?? null
    const overdue = committedAt !== null && schedule.now() > committedAt + overdueMs
    tally.reads++
    const name = `${api.process.name} read of ${token.hash.slice(0, 4)}`
    schedule.note(`${name} starts${late ? ' (after its 2xx)' : ''}`)
    try {
      const principal = await api.tokens.authenticate(token.plain)
      schedule.note(`${name}: ${principal === null ? 'refused' : 'accepted'}`)
      if (principal !== null && late) violate(`${name} was accepted, and started after the revocation's 2xx`)
      else if (principal !== null && overdue) violate(`${name} was accepted, and started ${overdueMs} ms after the revocation's COMMIT`)
      if (principal === null && row()?.revokedAt === null) violate(`${name} was refused, and the token is live`)
      if (principal !== null &&
        row()?.revokedAt === null &&
        Number(principal.user?.name) < version) violate(`${name} was told the name before the change`)
      return principal === null ? 'refused' : 'accepted'
    } catch {
      schedule.note(`${name}: error`)
      tally.errors++
      return 'error'
    }
  }

  /** Runs `work` and checks that it is answered in time; killed processes are excused, suspended ones while suspended. */
  async function answered (api: Api, name: string, work: () => Promise<void>, slackMs: number): Promise<boolean> {
    const startedAt = schedule.now()
    let open = true
    underWay++
    const done = () => {
      if (open) underWay--
      open = false
    }
    schedule.after(answerMs + slackMs, `${name} is due`, () => {
      if (open && api.process.alive && startedAt > excusedUntil) violate(`${name} was not answered within ${answerMs + slackMs} ms`)
      done()
    })
    try {
      await work()
      tally.slowestMs = Math.max(tally.slowestMs, schedule.now() - startedAt)
      schedule.note(`${name}: 2xx`)
      done()
      return true
    } catch {
      schedule.note(`${name}: 503`)
      tally.refused++
      done()
      return false
    }
  }

  function count ({ hash }: Watched): void {
    const isCached = deployment.redis.servers.some(server => deployment.redis.get(server, `token:${hash}`)?.startsWith('V'))
    tally.revocations++
    if (isCached) tally.cachedBefore++
  }

  return {
    violations,
    tally,
    read,
    underWay: () => underWay,
    /** Requests in progress while an instance is suspended need not be answered in time. */
    excuse: (untilMs: number) => { excusedUntil = Math.max(excusedUntil, untilMs) },

    /** Ends the token's session, as its user from another one or an admin does: a repeat is answered 2xx too. */
    async revoke (api: Api, token: Watched, slackMs = 500): Promise<boolean> {
      count(token)
      schedule.note(`${api.process.name} revocation of ${token.hash.slice(0, 4)} starts`)
      const told = await answered(api, `${api.process.name} revocation of ${token.hash.slice(0, 4)}`, () =>
        api.revocation.revoke(async tx => {
        await database.lockUser(tx, token.userId)
        return { named: await api.tokens.endSessions(tx, token.userId, [token.sessionId]), outcome: undefined }
      }), slackMs)
      if (told) token.ended = true
      return told
    },

    /** Ends the token's session as POST /oauth/revoke does: whoever has the token may, and one that is unknown is answered 2xx too. */
    async revokeByToken (api: Api, token: Watched, slackMs = 500): Promise<boolean> {
      count(token)
      const name = `${api.process.name} revocation by token of ${token.hash.slice(0, 4)}`
      schedule.note(`${name} starts`)
      const told = await answered(api, name, () => api.revocation.revoke(async tx => {
        const row = await api.tokenStore.findRow(tx, new TokenHash(token.hash))
        if (row === null) return { named: null, outcome: undefined }
        await database.lockUser(tx, token.userId)
        return { named: await api.tokens.endSessions(tx, token.userId, [token.sessionId]), outcome: undefined }
      }), slackMs)
      if (told) token.ended = true
      return told
    },

    /** Ends all of the user's tokens, as a change of the password does. */
    endAll: (api: Api, userId: string, slackMs = 500): Promise<boolean> =>
      answered(api, `${api.process.name} end of all`, () => api.revocation.revoke(async tx => {
        await database.lockUser(tx, userId)
        await api.tokenStore.revokeOfUsers(tx, [userId])
        return { named: await api.tokenStore.revokedOfUser(tx, userId, 120), outcome: undefined }
      }), slackMs),

    /** Ends all of the user's tokens as if they were too many to be named. */
    endMany: (api: Api, userId: string, slackMs = 500): Promise<boolean> =>
      answered(api, `${api.process.name} end of many`, () => api.revocation.revokeMany(async tx => {
        await database.lockUser(tx, userId)
        await api.tokenStore.revokeOfUsers(tx, [userId])
        return false
      }), slackMs),

    /** Changes what every entry of the user says. */
    async rename (api: Api, userId: string, slackMs = 500): Promise<boolean> {
      let version = 0
      const told = await answered(api, `${api.process.name} rename`, () => api.revocation.change(async tx => {
        await database.lockUser(tx, userId)
        const renaming = await database.rename(tx, userId)
        version = renaming.version
        return { named: renaming.hashes, outcome: undefined }
      }), slackMs)
      if (told) renamed.set(userId, Math.max(version, renamed.get(userId) ?? 0))
      return told
    },

    /** Logs the user in: the token exists from the COMMIT on and is cached under a lease taken before it. Null on an error. */
    async issue (api: Api, userId: string): Promise<Watched | null> {
      const sessionId = crypto.randomUUID()
      const now = api.clock.now()
      const expiresAt = new Date(now + 3_600_000)
      try {
        const { plain } = await api.transactions.transaction(async tx => {
          await database.lockUser(tx, userId)
          return await api.tokens.issue(tx, { kind: 'access', userId, sessionId, abilities: ['*'], createdAt: new Date(now), expiresAt }, {
            principalOf: id => database.principalOf({ id, userId, sessionId, expiresAt: expiresAt.getTime() })
          })
        })
        return { plain: plain.reveal(), hash: plain.hash().hex(), userId, sessionId, ended: false }
      } catch {
        return null
      }
    }
  }
}
