import { namedOfDatabase } from './named-database.js'
import { type NamedSchedule, otherUser, schedule, user } from './stage.js'

/** Schedules forced step by step; each name says what must hold. */
export const named = {
  ...namedOfDatabase,

  'a fill that read the row before the revocation has no effect': schedule(async ({
    schedule, api1, api2, read, revoke, wait, reach, readEverywhere, newToken
  }) => {
    const token = newToken()
    const answer = schedule.hold(/^api1 find replies/)
    const reading = read(api1, token)
    await reach(answer)
    await wait(revoke(api2, token))
    answer.release()
    await wait(reading)
    await schedule.pass(10)
    await readEverywhere(token)
  }),

  'a look-up that starts after a revocation does not join a read of before': schedule(async ({
    schedule, api1, api2, read, revoke, wait, reach, newToken
  }) => {
    const token = newToken()
    api1.link.cut(true)
    await schedule.pass(1_000)
    const answer = schedule.hold(/^api1 find replies/)
    const before = read(api1, token)
    await reach(answer)
    await wait(revoke(api2, token))
    const after = read(api1, token)
    await schedule.pass(10)
    answer.release()
    await wait(Promise.all([before, after]))
  }),

  'a fill whose lease was evicted has no effect': schedule(async ({
    schedule, redis, redis1, api1, api2, read, revoke, cache, wait, reach, readEverywhere, newToken, key
  }) => {
    const token = newToken()
    const answer = schedule.hold(/^api1 find replies/)
    const reading = read(api1, token)
    await reach(answer)
    redis.evict(redis1, key(token))
    await cache(api2, token)
    await wait(revoke(api2, token))
    redis.evict(redis1, key(token))
    answer.release()
    await wait(reading)
    await schedule.pass(10)
    await readEverywhere(token)
  }),

  'a server replaced between the overwrite and the reading of the epoch does not count as settled': schedule(async ({
    schedule, redis, redis1, redis2, api1, api2, revoke, cache, wait, reach, readEverywhere, newToken
  }) => {
    const token = newToken()
    redis.follow(redis2, redis1)
    await cache(api1, token)
    const lag = schedule.hold(/^redis2 copies/)
    const asking = schedule.hold(/^api1 finish runs/)
    const revoking = revoke(api1, token)
    await reach(asking)
    redis.promote(redis2)
    api2.link.route = redis2
    api2.link.drop()
    const registering = schedule.now()
    await schedule.run(() => api2.counters.registrations === 1, registering + 5_000)
    await schedule.pass(50)
    asking.release()
    for (let i = 0; i < 20; i++) {
      await schedule.pass(100)
      await readEverywhere(token)
    }
    await wait(revoking)
    lag.release()
    await readEverywhere(token)
  }),

  'a promoted server without the last write is not believed': schedule(async ({
    schedule, redis, redis1, redis2, api1, api2, revoke, cache, wait, readEverywhere, newToken
  }) => {
    const token = newToken()
    redis.follow(redis2, redis1)
    await cache(api1, token)
    const lag = schedule.hold(/^redis2 copies/)
    await wait(revoke(api1, token))
    redis.promote(redis2)
    for (const { link } of [api1, api2]) {
      link.route = redis2
      link.drop()
    }
    for (let i = 0; i < 40; i++) {
      await schedule.pass(50)
      await readEverywhere(token)
    }
    lag.release()
  }),

  'a master that becomes a replica under its connections is not believed': schedule(async ({
    schedule, redis, redis1, redis2, api1, revoke, cache, wait, readEverywhere, newToken, expect
  }) => {
    const token = newToken()
    redis.follow(redis2, redis1)
    await cache(api1, token)
    redis.promote(redis2)
    expect(await wait(revoke(api1, token)), 'the revocation was not answered 2xx')
    redis.follow(redis1, redis2)
    for (let i = 0; i < 10; i++) {
      await readEverywhere(token)
      await schedule.pass(50)
    }
  }),

  'a fill delayed past two generations keeps its old generation': schedule(async ({
    schedule, database, api1, api2, read, revoke, wait, reach, withoutHelpOf, newToken
  }) => {
    const token = newToken()
    withoutHelpOf(api2)
    const answer = schedule.hold(/^api2 find replies/)
    api1.link.cut(true)
    await schedule.pass(600)
    const reading = read(api2, token)
    await reach(answer)
    const revoking = revoke(api1, token)
    const before = database.epoch.generation
    await schedule.run(() => database.epoch.generation > before)
    void database.epochStore(api1.process).bump()
    await schedule.pass(5)
    const seen = api2.epoch.trust()?.generation ?? 0
    // Now, and not at its regular time: by then the lease may have expired.
    void api2.epoch.poll()
    await schedule.run(() => (api2.epoch.trust()?.generation ?? 0) > seen)
    answer.release()
    await wait(reading)
    await schedule.pass(5)
    await wait(revoking)
    await wait(read(api2, token))
  }),

  'a token revoked between its COMMIT and its fill is not filled': schedule(async ({
    schedule, redis, redis1, database, api1, api2, issue, wait, reach, readEverywhere, key
  }) => {
    const acknowledgement = schedule.hold(/^api1 COMMIT replies/)
    const issuing = issue(api1, user)
    await reach(acknowledgement)
    const row = [...database.tokens.values()].at(-1)
    if (row === undefined) throw new Error('nothing was issued')
    await wait(api2.revocation.revoke(async tx => {
      await database.lockUser(tx, user)
      return { named: await api2.tokens.endSessions(tx, user, [row.sessionId]), outcome: undefined }
    }))
    redis.evict(redis1, `token:${row.hash}`)
    acknowledgement.release()
    const token = await wait(issuing)
    await schedule.pass(10)
    if (token === null) throw new Error('nothing was issued')
    await readEverywhere(Object.assign(token, { ended: true, key }))
  }),

  'trust ends H after the poll was sent, however late its reply': schedule(async ({
    schedule, api1, api2, revoke, read, cache, wait, reach, withoutHelpOf, newToken
  }) => {
    const token = newToken()
    await cache(api2, token)
    withoutHelpOf(api2)
    api1.link.cut(true)
    const bump = schedule.hold(/^api1 bump runs/)
    const revoking = revoke(api1, token, 9_000)
    await reach(bump)
    const reply = schedule.hold(/^api2 poll replies/)
    await reach(reply)
    schedule.hold(/^api2 poll runs/)
    bump.release()
    await schedule.pass(900)
    reply.release()
    await wait(revoking)
    for (let i = 0; i < 10; i++) {
      await wait(read(api2, token))
      await schedule.pass(40)
    }
  }),

  'a poll that fails leaves no trust past H': schedule(async ({
    schedule, api1, api2, revoke, read, cache, wait, withoutHelpOf, newToken
  }) => {
    const token = newToken()
    await cache(api2, token)
    withoutHelpOf(api2)
    api1.link.cut(true)
    const revoking = revoke(api1, token)
    await schedule.pass(1_000)
    schedule.hold(/^api2 poll runs/)
    await wait(revoking)
    for (let i = 0; i < 10; i++) {
      await wait(read(api2, token))
      await schedule.pass(100)
    }
  }),

  'a repeated revocation is settled although the first revoker died': schedule(async ({
    schedule, deployment, api1, api2, revoke, cache, wait, reach, readEverywhere, newToken
  }) => {
    const token = newToken()
    await cache(api2, token)
    const acknowledgement = schedule.hold(/^api1 COMMIT replies/)
    void revoke(api1, token)
    await reach(acknowledgement)
    deployment.crash(api1)
    await wait(revoke(api2, token))
    await readEverywhere(token)
  }),

  'a revocation whose revoker died takes effect within 3 s and H': schedule(async ({
    schedule, deployment, api1, api2, revoke, read, cache, wait, reach, newToken
  }) => {
    const token = newToken()
    await cache(api2, token)
    const acknowledgement = schedule.hold(/^api1 COMMIT replies/)
    void revoke(api1, token)
    await reach(acknowledgement)
    deployment.crash(api1)
    for (let i = 0; i < 60; i++) {
      await schedule.pass(100)
      await wait(read(api2, token))
    }
  }),

  'a peer settles for an instance that is cut off': schedule(async ({
    schedule, api1, api2, revoke, cache, wait, readEverywhere, newToken, expect
  }) => {
    const token = newToken()
    await cache(api2, token)
    api1.link.cut(true)
    const from = schedule.now()
    expect(await wait(revoke(api1, token)), 'the revocation was not answered 2xx')
    expect(schedule.now() - from < 1_800, 'help took too long')
    expect(api1.counters.settledByPeers === 1 && api1.counters.bumps === 0, 'there was a bump')
    await readEverywhere(token)
  }),

  'a revocation does not join a bump sent before its COMMIT': schedule(async ({
    schedule, api1, api2, revoke, cache, wait, reach, readEverywhere, withoutHelpOf, newToken, expect
  }) => {
    const [first, second] = [newToken(), newToken(otherUser)]
    withoutHelpOf(api2)
    api1.link.cut(true)
    const reply = schedule.hold(/^api1 bump replies/)
    const revoking = revoke(api1, first, 9_000)
    await reach(reply)
    const seen = api2.epoch.trust()?.generation ?? 0
    await schedule.run(() => (api2.epoch.trust()?.generation ?? 0) > seen)
    await cache(api2, second)
    const joining = revoke(api1, second, 9_000)
    await schedule.pass(100)
    reply.release()
    await wait(revoking)
    expect(await wait(joining), 'the second was not answered 2xx')
    await readEverywhere(second)
  }),

  'a machine that was suspended trusts no earlier poll': schedule(async ({
    schedule, api1, api2, revoke, read, cache, wait, newToken, expect
  }) => {
    const token = newToken()
    await cache(api2, token)
    await schedule.run(() => api2.epoch.state() === 'trusted')
    schedule.suspend(api2.process, 8_000, true)
    api1.link.cut(true)
    expect(await wait(revoke(api1, token)), 'the revocation was not answered 2xx')
    await schedule.run(() => !api2.process.suspended)
    await wait(read(api2, token))
  }),

  'two masters do not take turns': schedule(async ({ schedule, deployment, redis2, database, apis, api2, expect }) => {
    const before = database.epoch.generation
    api2.link.route = redis2
    api2.link.drop()
    await schedule.pass(14_000)
    expect(deployment.incarnationOf(redis2) === database.epoch.incarnation, 'the other master was not registered')
    expect(apis.reduce((sum, { counters }) => sum + counters.registrations, 0) === 1, 'they took turns')
    expect(database.epoch.generation > before, 'there was no bump')
  }),

  'a replaced master can register again once its successor is no longer confirmed': schedule(async ({
    schedule, deployment, redis1, redis2, database, api1, api2, expect
  }) => {
    api2.link.route = redis2
    api2.link.drop()
    await schedule.pass(8_000)
    expect(deployment.incarnationOf(redis2) === database.epoch.incarnation, 'the other master was not registered')
    api2.link.route = redis1
    api2.link.drop()
    await schedule.pass(22_000)
    expect(deployment.incarnationOf(redis1) === database.epoch.incarnation, 'the first master did not come back')
    expect(api1.epoch.state() === 'trusted' && api2.epoch.state() === 'trusted', 'the cache is not trusted again')
  }),

  'a frozen Redis delays a revocation by seconds, and its old entries are not accepted later': schedule(async ({
    schedule, redis, redis1, api1, api2, revoke, cache, wait, readEverywhere, newToken, expect
  }) => {
    const token = newToken()
    await cache(api2, token)
    redis.freeze(redis1, true)
    const from = schedule.now()
    expect(await wait(revoke(api1, token)), 'the revocation was not answered 2xx')
    expect(schedule.now() - from < 3_800, 'it took too long')
    await readEverywhere(token)
    redis.freeze(redis1, false)
    for (let i = 0; i < 30; i++) {
      await readEverywhere(token)
      await schedule.pass(50)
    }
    expect(api2.epoch.state() === 'trusted', 'the cache is not trusted again')
  })
} satisfies Record<string, NamedSchedule>

export type ScheduleName = keyof typeof named
