import { otherUser, schedule, user } from './stage.js'

/** Forced schedules of the database: standbys, crashes, copies, isolation and its clock. */
export const namedOfDatabase = {
  'a standby does not say that there is nothing to end': schedule(async ({
    schedule, database, api1, api2, issue, revokeByToken, read, wait, readEverywhere
  }) => {
    database.pauseReplay(true)
    const token = await wait(issue(api1, user))
    if (token === null) throw new Error('nothing was issued')
    await wait(read(api1, token))
    database.onStandby.set(api2.process, 100)
    await wait(revokeByToken(api2, token))
    database.onStandby.clear()
    await schedule.pass(100)
    await readEverywhere(token)
  }),

  'a standby does not answer a look-up': schedule(async ({
    schedule, database, api1, api2, revoke, read, cache, wait, newToken, expect
  }) => {
    const token = newToken()
    await cache(api2, token)
    database.pauseReplay(true)
    expect(await wait(revoke(api1, token)), 'the revocation was not answered 2xx')
    api2.link.cut(true)
    database.onStandby.set(api2.process, 100)
    for (let i = 0; i < 10; i++) {
      await schedule.pass(200)
      await wait(read(api2, token))
    }
  }),

  'a standby does not say that a peer has settled': schedule(async ({
    schedule, database, api1, api2, revoke, cache, wait, reach, readEverywhere, withoutHelpOf, newToken
  }) => {
    const token = newToken()
    await cache(api2, token)
    withoutHelpOf(api2)
    database.pauseReplay(true)
    api1.link.cut(true)
    const asked = schedule.hold(/^api1 askForHelp replies/)
    const revoking = revoke(api1, token, 9_000)
    await reach(asked)
    database.onStandby.set(api1.process, 100)
    asked.release()
    await wait(revoking)
    database.onStandby.clear()
    await readEverywhere(token)
  }),

  'a poll that a standby answers is none': schedule(async ({
    schedule, database, api1, api2, revoke, read, cache, wait, withoutHelpOf, newToken
  }) => {
    const token = newToken()
    await cache(api2, token)
    withoutHelpOf(api2)
    database.pauseReplay(true)
    database.onStandby.set(api2.process, 100)
    api1.link.cut(true)
    await wait(revoke(api1, token, 9_000))
    for (let i = 0; i < 10; i++) {
      await wait(read(api2, token))
      await schedule.pass(100)
    }
  }),

  'a bump survives a crash of the database': schedule(async ({
    schedule, database, api1, api2, revoke, read, cache, wait, withoutHelpOf, newToken, expect
  }) => {
    const token = newToken()
    await cache(api2, token)
    withoutHelpOf(api2)
    database.defaults.waitsForFlush = false
    // Without a connection it asks for help at once, so that its settlement is not overdue yet when that comes back.
    api1.link.cut(true)
    api1.link.drop()
    expect(await wait(revoke(api1, token)), 'the revocation was not answered 2xx')
    database.crash(1)
    await schedule.pass(2)
    void api2.epoch.poll()
    for (let i = 0; i < 40; i++) {
      await schedule.pass(50)
      await wait(read(api2, token))
    }
  }),

  'a registration survives a crash of the database': schedule(async ({
    schedule, redis, redis1, redis2, database, api1, api2, revoke, read, cache, wait, reach, newToken, expect
  }) => {
    const token = newToken()
    redis.follow(redis2, redis1)
    await cache(api2, token)
    redis.promote(redis2)
    const polls = schedule.hold(/^api1 poll runs/)
    await reach(polls)
    api1.link.route = redis2
    api1.link.drop()
    await schedule.pass(20)
    database.defaults.waitsForFlush = false
    const finishing = schedule.hold(/^api1 finish runs/)
    const revoking = revoke(api1, token, 9_000)
    await reach(finishing)
    polls.release()
    await schedule.run(() => api1.counters.registrations === 1, schedule.now() + 3_000)
    finishing.release()
    expect(await wait(revoking), 'the revocation was not answered 2xx')
    database.crash(20)
    for (let i = 0; i < 30; i++) {
      await schedule.pass(50)
      await wait(read(api2, token))
    }
  }),

  'a token issued just before is seen by the transaction that ends all': schedule(async ({
    schedule, database, api1, api2, issue, endAll, wait, reach, readEverywhere, expect
  }) => {
    database.defaults.repeatableRead = true
    const committing = schedule.hold(/^api1 COMMIT runs/)
    const issuing = wait(issue(api1, user))
    await reach(committing)
    const ending = endAll(api2, user)
    await schedule.pass(20)
    committing.release()
    const token = await issuing
    if (token === null) throw new Error('nothing was issued')
    expect(await wait(ending), 'the revocation was not answered 2xx')
    token.ended = true
    await readEverywhere(token)
  }),

  'tokens too many to be named end with the COMMIT, although its revoker died': schedule(async ({
    schedule, deployment, api1, api2, endMany, read, cache, wait, reach, newToken
  }) => {
    const token = newToken()
    await cache(api2, token)
    const acknowledgement = schedule.hold(/^api1 COMMIT replies/)
    void endMany(api1, user)
    await reach(acknowledgement)
    deployment.crash(api1)
    for (let i = 0; i < 60; i++) {
      await schedule.pass(100)
      await wait(read(api2, token))
    }
  }),

  'tokens too many to be named are dead when that is answered': schedule(async ({
    database, api1, api2, endMany, cache, wait, readEverywhere, newToken, expect
  }) => {
    const token = newToken()
    await cache(api2, token)
    const before = database.epoch.generation
    expect(await wait(endMany(api1, user)), 'the revocation was not answered 2xx')
    expect(database.epoch.generation > before, 'there was no bump')
    token.ended = true
    await readEverywhere(token)
  }),

  'a change of more than a thousand tokens bumps, and names none': schedule(async ({
    database, api1, api2, endAll, cache, wait, readEverywhere, newToken, expect
  }) => {
    const token = newToken()
    for (let i = 0; i < 1_000; i++) newToken()
    await cache(api2, token)
    const before = database.epoch.generation
    expect(await wait(endAll(api1, user)), 'the revocation was not answered 2xx')
    expect(database.epoch.generation > before, 'there was no bump')
    token.ended = true
    await readEverywhere(token)
  }),

  'a server that was forgotten is waited for': schedule(async ({
    schedule,
    database,
    redis1,
    api1,
    api2,
    revoke,
    cache,
    wait,
    readEverywhere,
    newToken,
    expect
  }) => {
    const token = newToken()
    await cache(api2, token)
    // As if nobody had confirmed it; the other instance goes on trusting its last poll.
    schedule.hold(/^api2 poll runs/)
    api1.link.cut(true)
    api1.link.drop()
    database.seed(({ epoch }) => { epoch.confirmedAt = Number.NEGATIVE_INFINITY })
    await schedule.run(() => database.epoch.incarnation === null, schedule.now() + 2_000)
    expect(database.epoch.incarnation === null && redis1.alive, 'the server was not forgotten')
    expect(await wait(revoke(api1, token)), 'the revocation was not answered 2xx')
    await readEverywhere(token)
  }),

  'a settlement dated ahead of the clock is overdue': schedule(async ({
    schedule, deployment, database, api1, api2, revoke, read, cache, wait, reach, newToken
  }) => {
    const token = newToken()
    await cache(api2, token)
    const acknowledgement = schedule.hold(/^api1 COMMIT replies/)
    void revoke(api1, token)
    await reach(acknowledgement)
    deployment.crash(api1)
    database.promote(300_000)
    for (let i = 0; i < 60; i++) {
      await schedule.pass(100)
      await wait(read(api2, token))
    }
  }),

  'a clock that is set back gives no generation twice': schedule(async ({
    schedule, database, api1, api2, revoke, cache, wait, readEverywhere, withoutHelpOf, newToken, expect
  }) => {
    withoutHelpOf(api2)
    api1.link.cut(true)
    expect(await wait(revoke(api1, newToken(otherUser))), 'the first revocation was not answered 2xx')
    const before = database.epoch.generation
    database.promote(300_000)
    await schedule.pass(2_000)
    const token = newToken()
    await cache(api2, token)
    expect(await wait(revoke(api1, token)), 'the second revocation was not answered 2xx')
    expect(database.epoch.generation > before, 'the generation did not grow')
    await readEverywhere(token)
  }),

  'two key prefixes are two caches': schedule(async ({ schedule, deployment, redis1, api1, revoke, read, wait, newToken, expect }) => {
    const token = newToken()
    const other = deployment.start('api3', redis1, { prefix: 'other:' })
    await schedule.run(() => other.epoch.state() === 'trusted', schedule.now() + 5_000)
    await wait(read(other, token))
    await schedule.pass(20)
    await wait(read(other, token))
    expect(other.counters.hits > 0, 'the other instance had nothing cached')
    await wait(revoke(api1, token, 9_000))
    for (let i = 0; i < 20; i++) {
      await wait(read(other, token))
      await schedule.pass(100)
    }
  }),

  'a copy of the database has keys of its own': schedule(async ({
    schedule, deployment, database, redis1, api1, api2, revoke, read, cache, wait, newToken, expect
  }) => {
    const token = newToken()
    const copied = deployment.start('api3', redis1, { database: database.copy('database2') })
    await cache(api2, token)
    expect(await wait(revoke(api1, token)), 'the revocation was not answered 2xx')
    await schedule.pass(61_000)
    await wait(copied.tokens.authenticate(token.plain))
    await schedule.pass(20)
    for (const api of [api1, api2]) await wait(read(api, token))
  })
}
