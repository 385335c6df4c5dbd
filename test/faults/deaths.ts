import { setTimeout as delay } from 'node:timers/promises'
import type { Api } from './api.js'
import type { Scene } from './faults.js'
import type { Token, User } from './oracle.js'
import type { Death } from './points.js'
import { endOther } from './ways.js'

/** More than a revocation's awaits: the loop ends at the first one that isn't reached. */
const mostAwaits = 60
/** Others settle a revocation whose API died: 3 s until it is overdue, H until they know, and a margin. */
const settledByOthersMs = 3_000 + 1_500 + 500

/**
 * Kills an API at each await of a revocation in turn (or at the named ones) and restarts it. Every other time the request is repeated on
 * another instance at once; else, if the first one was committed, the token must be dead after the time that the others have to settle it.
 */
export async function killAtEachAwait (scene: Scene, points: string[] | null): Promise<void> {
  const { testbed } = scene
  const deaths: Death[] = points?.map(point => ({ point, nth: 1 })) ??
    Array.from({ length: mostAwaits }, (_, i) => ({ point: null, nth: i + 1 }))
  const restarts: Array<Promise<void>> = []
  for (const [i, death] of deaths.entries()) {
    const api = await nextVictim(testbed.apis.slice(1), i)
    const end = await killOnce(scene, api, death, i % 2 === 0)
    if (end === 'died') restarts.push(api.revive())
    if (end === 'lived' && points === null) break
  }
  await Promise.all(restarts)
}

async function nextVictim (candidates: Api[], i: number): Promise<Api> {
  while (true) {
    const api = candidates[i % candidates.length] as Api
    if (api.state === 'up') return api
    await delay(20)
  }
}

/** `lived`: the request ended before that await; `nobody`: there was no session to end. */
async function killOnce ({ testbed, load, oracle }: Scene, api: Api, death: Death, repeats: boolean): Promise<'died' | 'lived' | 'nobody'> {
  const user = await takeUser(() => load.takeUser(({ tokens }) => tokens.length > 1))
  if (user === null) return 'nobody'
  const plan = endOther(user)
  const token = plan.ends[0]!
  token.sentAt ??= performance.now()
  user.tokens = user.tokens.filter(other => other !== token)
  api.doom()
  const reply = await api.ask({ ...plan.call, death })
  oracle.note(token, api, plan.what, reply)
  const died = reply.status === null
  if (died) {
    oracle.died()
    await api.gone
  } else {
    api.spare()
  }
  if (repeats || !died) {
    await load.revoke(user, plan, testbed.anyUp(api))
    load.release(user)
  } else {
    user.certain = false
    load.release(user)
    const diedAt = performance.now()
    void load.track(expectDead(token, diedAt))
  }
  return died ? 'died' : 'lived'

  async function expectDead (token: Token, diedAt: number): Promise<void> {
    const rows = await testbed.sql`select revoked_at is not null as revoked from tokens where hash = decode(${token.hash}, 'hex')`
    // The COMMIT may still be in progress: without the row there is no claim to check.
    if (rows[0]?.revoked !== true) return oracle.unresolved()
    await delay(Math.max(0, diedAt + settledByOthersMs - performance.now()))
    token.history.push(`${performance.now().toFixed(1)} revoked in the database by an API that was killed: must be dead now`)
    oracle.ended(
      [token],
      { status: null, body: '', fromCache: false, startedAt: performance.now(), endedAt: performance.now(), failure: null },
      oracle.fault
    )
    load.hammer(token)
  }
}

async function takeUser (take: () => User | null): Promise<User | null> {
  for (let i = 0; i < 100; i++) {
    const user = take()
    if (user !== null) return user
    await delay(20)
  }
  return null
}
