import { setTimeout as delay } from 'node:timers/promises'
import slotOf from 'cluster-key-slot'
import { type ClusterNode, onServer, type RedisClusterSet, type SentinelSet } from '../fixtures/redis-sets.js'
import type { RedisServer } from '../fixtures/servers.js'
import type { Fault, Scene } from './faults.js'

/** Faults of Sentinels and clusters, which choose their master themselves. */

const none: Fault = { short: true, strike: ({ hold }) => hold(1_500) }

const signal = (
  servers: Array<Pick<RedisServer, 'pid'>>,
  name: NodeJS.Signals
) => { for (const { pid } of servers) process.kill(pid, name) }

function onSentinels (short: boolean, strike: (scene: Scene, set: SentinelSet) => Promise<void>): Fault {
  return {
    short,
    async strike (scene) {
      if (scene.testbed.sentinels === null) throw new Error('this fault needs --setup sentinel')
      await strike(scene, scene.testbed.sentinels)
    }
  }
}

function onCluster (short: boolean, strike: (scene: Scene, set: RedisClusterSet) => Promise<void>): Fault {
  return {
    short,
    async strike (scene) {
      if (scene.testbed.cluster === null) throw new Error('this fault needs --setup cluster')
      await strike(scene, scene.testbed.cluster)
    }
  }
}

let turn = 0

/** Each master in turn. */
async function oneOf (set: RedisClusterSet): Promise<ClusterNode> {
  const masters = await set.masters()
  return masters[turn++ % masters.length] as ClusterNode
}

/** Slots that hold entries, each with a master it doesn't belong to. */
async function occupied ({ testbed }: Scene, set: RedisClusterSet, most: number): Promise<Array<{ slot: number, to: ClusterNode }>> {
  const masters = await set.masters()
  const from = await oneOf(set)
  const keys = await onServer(from.port, client => client.keys(`${testbed.prefix}token:*`))
  const others = masters.filter(({ id }) => id !== from.id)
  return [...new Set(keys.map(key => slotOf(key)))].slice(0, most).map((
    slot,
    i
  ) => ({ slot, to: others[i % others.length] as ClusterNode }))
}

export const setFaults: Record<'sentinel' | 'cluster', Record<string, Fault>> = {
  sentinel: {
    none,

    'failover-ordered': onSentinels(true, async ({ hold }, set) => {
      await set.failOver()
      await hold(1_500)
    }),

    'master-killed': onSentinels(true, async ({ hold }, set) => {
      const old = await set.master()
      await old.kill()
      await set.succeeded(old)
      await hold(1_500)
      await set.revive(old)
    }),

    /** The frozen master resumes after its successor was chosen, and acts as master for a moment. */
    'master-frozen': onSentinels(true, async ({ hold }, set) => {
      const old = await set.master()
      signal([old], 'SIGSTOP')
      await set.succeeded(old)
      await hold(300)
      signal([old], 'SIGCONT')
      await hold(1_500)
    }),

    /** The successor lacks the last revocations. */
    'master-killed-lost-writes': onSentinels(true, async ({ hold }, set) => {
      const old = await set.master()
      const replicas = set.servers.filter(server => server !== old)
      signal(replicas, 'SIGSTOP')
      await delay(400)
      await old.kill()
      signal(replicas, 'SIGCONT')
      await set.succeeded(old)
      await hold(1_500)
      await set.revive(old)
    })
  },

  cluster: {
    none,

    'failover-ordered': onCluster(true, async ({ hold }, set) => {
      await set.failOver(await oneOf(set))
      await hold(1_500)
    }),

    takeover: onCluster(false, async ({ hold }, set) => {
      await set.failOver(await oneOf(set), 'TAKEOVER')
      await hold(1_500)
    }),

    'shard-killed': onCluster(true, async ({ hold }, set) => {
      const old = await oneOf(set)
      await set.kill(old)
      await hold(1_500)
      await set.revive(old)
    }),

    'shard-frozen': onCluster(true, async ({ hold }, set) => {
      const old = await oneOf(set)
      await set.freeze(old, async () => { await hold(300) })
      await hold(1_500)
    }),

    /** The successor lacks the last revocations. */
    'shard-killed-lost-writes': onCluster(true, async ({ hold }, set) => {
      const old = await oneOf(set)
      const replica = await set.replicaOf(old)
      signal([replica], 'SIGSTOP')
      await delay(500)
      await old.kill()
      signal([replica], 'SIGCONT')
      await set.kill(old)
      await hold(1_500)
      await set.revive(old)
    }),

    'slots-moved': onCluster(true, async (scene, set) => {
      for (const { slot, to } of await occupied(scene, set, 12)) await set.moveSlot(slot, to)
      await scene.hold(1_000)
    }),

    /** Entries are on both sides of a move for seconds. */
    'slots-on-their-way': onCluster(false, async (scene, set) => {
      for (const { slot, to } of await occupied(scene, set, 3)) await set.moveSlot(slot, to, () => scene.hold(1_000))
      await scene.hold(1_000)
    }),

    'slots-without-keys': onCluster(true, async (scene, set) => {
      for (const { slot, to } of await occupied(scene, set, 12)) {
        await set.forceSlot(slot, to)
        await delay(50)
      }
      await scene.hold(1_500)
    })
  }
}
