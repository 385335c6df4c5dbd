import { setTimeout as delay } from 'node:timers/promises'
import type { OwnPostgres } from '../fixtures/own-postgres.js'
import type { Api } from './api.js'
import type { Fault, Scene } from './faults.js'
import { revokeByOauth } from './ways.js'

/** Faults of the database server itself: killed, set otherwise, or replaced by its standby. */

let turn = 0
const oneOf = (apis: Api[]): Api => apis[turn++ % apis.length] as Api

function requireOwn ({ testbed }: Scene): OwnPostgres {
  if (testbed.database.own === null) throw new Error('this fault needs a PostgreSQL of its own: install its server (initdb)')
  return testbed.database.own
}

function requireStandby ({ testbed }: Scene): OwnPostgres {
  if (testbed.database.standby === null) throw new Error('this fault needs --setup standby')
  return testbed.database.standby
}

/** Settings of the database and of the role that change what a row means; new connections have them. */
const settings = [
  'bytea_output = \'escape\'', 'datestyle = \'SQL, DMY\'', 'timezone = \'Asia/Tokyo\'', 'intervalstyle = \'sql_standard\'', 'extra_float_digits = -15',
  'default_transaction_isolation = \'repeatable read\'', 'synchronous_commit = \'off\''
]

async function setOtherwise (scene: Scene): Promise<void> {
  const { testbed, hold } = scene
  const own = requireOwn(scene)
  const database = new URL(testbed.database.url).pathname.slice(1)
  const change = (how: string) =>
    own.run(
      ...settings.map((
        setting,
        i
      ) => `alter ${i % 2 === 0 ? `database ${database}` : 'role postgres'} ${how} ${how === 'set' ? setting : setting.split(' ')[0]}`)
    )
  const reconnect = () =>
    testbed.sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`
  await change('set')
  await reconnect()
  await hold(3_000)
  await change('reset')
  await reconnect()
}

/** What was acknowledged without being flushed is lost, and may be: all but revocations. */
async function killUnsynced (scene: Scene, withoutRedis: boolean): Promise<void> {
  const { testbed, load, oracle, hold } = scene
  const own = requireOwn(scene)
  const cutRedis = (cut: boolean) => { if (withoutRedis) for (const { redisLink } of testbed.members) redisLink.mode(cut ? 'cut' : 'pass') }
  await own.run('alter system set synchronous_commit = off', 'select pg_reload_conf()')
  await delay(200)
  own.freezeWalWriter(true)
  cutRedis(true)
  await hold(1_200)
  // The last bump is to be followed by no commit that would flush it too.
  load.revoking(false)
  if (withoutRedis) await load.settled()
  await own.kill()
  cutRedis(false)
  await own.resume()
  oracle.mayHaveLost()
  load.revoking(true)
  await hold(2_000)
  await own.run('alter system reset synchronous_commit', 'select pg_reload_conf()')
}

/** Ends, on the instance that reaches the standby, tokens that were issued since that stopped replaying: it knows none of them. */
async function revokeUnreplayed ({ testbed, load }: Scene, behind: Api, ms: number): Promise<void> {
  const until = performance.now() + ms
  while (performance.now() < until) {
    const user = await load.register(testbed.anyUp(behind))
    const [token] = user?.tokens ?? []
    if (user === null || token === undefined) {
      await delay(50)
      continue
    }
    // Once it is in the cache, whoever still believes that has an entry to find.
    for (let i = 0; i < 10 && !token.hit; i++) {
      const api = testbed.anyUp(behind)
      if (api !== null) await load.read(token, api)
    }
    await load.revoke(user, revokeByOauth(user), behind)
  }
}

/** Faults for a PostgreSQL server of the run's own. */
export const postgresFaults: Record<string, Fault> = {
  'postgres-killed': {
    short: true,
    async strike (scene) {
      const own = requireOwn(scene)
      await own.kill()
      await scene.hold(500)
      await own.resume()
      await scene.hold(1_000)
    }
  },
  'postgres-killed-unsynced': { short: true, strike: scene => killUnsynced(scene, false) },
  'postgres-killed-unsynced-without-redis': { short: true, strike: scene => killUnsynced(scene, true) },
  'postgres-set-otherwise': { short: true, strike: setOtherwise }
}

/** Faults with a synchronous standby beside the primary. */
export const standbyFaults: Record<string, Fault> = {
  /** One instance's connections lead to a standby that has stopped replaying. */
  'standby-answers': {
    short: true,
    async strike (scene) {
      const standby = requireStandby(scene)
      const behind = oneOf(scene.testbed.members)
      const { databaseLink } = behind
      await standby.pauseReplay(true)
      databaseLink.target(standby.port)
      databaseLink.drop()
      await Promise.all([scene.hold(3_000), revokeUnreplayed(scene, behind, 2_500)])
      databaseLink.target(requireOwn(scene).port)
      databaseLink.drop()
      await standby.pauseReplay(false)
    }
  },

  /** Every second connection of each instance leads there, its pool's and its poll's alike. */
  'standby-answers-some': {
    short: true,
    async strike (scene) {
      const standby = requireStandby(scene)
      const { members } = scene.testbed
      await standby.pauseReplay(true)
      for (const { databaseLink } of members) {
        databaseLink.target(requireOwn(scene).port, standby.port)
        databaseLink.drop()
      }
      await scene.hold(3_000)
      for (const { databaseLink } of members) {
        databaseLink.target(requireOwn(scene).port)
        databaseLink.drop()
      }
      await standby.pauseReplay(false)
    }
  },

  'standby-promoted': {
    short: true,
    async strike (scene) {
      requireStandby(scene)
      await scene.testbed.promoteStandby()
      await scene.hold(1_500)
      await scene.testbed.database.follow()
    }
  }
}
