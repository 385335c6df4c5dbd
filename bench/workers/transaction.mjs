// The transaction of a logout alone: the session service's own, without HTTP, cache or settling. Takes principals, tells the times it took.
import { systemClock } from '../../dist/src/clock.js'
import { createPostgres } from '../../dist/src/edges/postgres.js'
import { createSessionService } from '../../dist/src/sessions/service.js'
import { createSessionStore } from '../../dist/src/sessions/store.js'
import { createEpochStore } from '../../dist/src/tokens/epoch-store.js'
import { createRevocation } from '../../dist/src/tokens/revocation.js'
import { createTokenService } from '../../dist/src/tokens/service.js'
import { createTokenStore } from '../../dist/src/tokens/store.js'
import { createUserService } from '../../dist/src/users/service.js'
import { createUserStore } from '../../dist/src/users/store.js'

const database = createPostgres(process.env.DATABASE_URL, 10)
const clock = systemClock
const store = createSessionStore(database, { idleSeconds: null })
const tokens = createTokenService({ store: createTokenStore(database), clock, cacheTtlSeconds: 300, cache: null, mint: null, lastUse: null, counters: null })
const users = createUserService({ store: createUserStore(database), clock, passwords: null, limiter: null, registration: 'open', passwordMinLength: 8 })
const revocation = createRevocation({ transactions: database, store: createEpochStore(database), settle: { settle: async () => {} } })
const sessions = createSessionService({ store, tokens, users, revocation, transactions: database, clock, sessionLimit: 1, lifetimes: {} })

process.send('ready')
process.on('message', async principals => {
  const times = []
  for (const { userId, sessionId, tokenId } of principals) {
    const startedAt = performance.now()
    await sessions.logOut({ user: { id: userId }, session: { id: sessionId }, token: { id: tokenId } })
    times.push(performance.now() - startedAt)
  }
  process.send(times)
})
process.once('SIGTERM', () => process.exit(0))
