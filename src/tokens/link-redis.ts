import type { Redis } from 'ioredis'
import { type CacheLink, type Identity, RefusedCommandError } from './link.js'

const compareAndSetScript = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1 end return 0"

/** The commands on a Redis server (7 or later, for SET … NX GET). `client` neither queues, nor resends, nor waits: see edges/redis.ts. */
export function createRedisLink (client: Redis): CacheLink {
  let opened = client.status === 'ready' ? 1 : 0
  let connection: number | null = client.status === 'ready' ? opened : null
  client.on('ready', () => { connection = ++opened })
  client.on('close', () => { connection = null })

  /** A server that loads, or was demoted under our feet, is left: the next connection finds out who answers there. */
  function refusal (error: unknown): unknown {
    if (!(error instanceof Error) || error.name !== 'ReplyError') return error
    if (/^(READONLY|LOADING|MASTERDOWN)/.test(error.message)) {
      connection = null
      client.disconnect(true)
      return error
    }
    return new RefusedCommandError(error.message.split(' ', 1)[0])
  }

  function identity (info: unknown): Identity {
    if (connection === null) throw new Error('the connection was lost')
    const field = (name: string) => new RegExp(`^${name}:(\\S+)`, 'm').exec(String(info))?.[1]
    const [run, replication, role] = [field('run_id'), field('master_replid'), field('role')]
    const known = run !== undefined && replication !== undefined && role === 'master'
    return { connection, incarnation: known ? `${run}:${replication}:${client.options.db ?? 0}` : null }
  }

  return {
    get connection () { return connection },
    async takeLease (key, lease, ttlMs) {
      try {
        return await client.set(key, lease, 'PX', ttlMs, 'NX', 'GET')
      } catch (error) {
        throw refusal(error)
      }
    },
    async compareAndSet (key, expected, value, ttlMs) {
      try {
        return await client.eval(compareAndSetScript, 1, key, expected, value, ttlMs) === 1
      } catch (error) {
        throw refusal(error)
      }
    },
    async overwrite (keys, ttlMs) {
      if (connection === null) throw new Error('not connected')
      const used = connection
      const pipeline = client.pipeline()
      for (const key of keys) {
        if (ttlMs === null) pipeline.del(key)
        else pipeline.set(key, 'R', 'PX', ttlMs)
      }
      const replies = await pipeline.call('INFO', 'server', 'replication').exec()
      if (replies === null || replies.length !== keys.length + 1) throw new Error('the pipeline was not answered')
      // A pipeline resolves even where a command of it failed: each reply has to be looked at.
      const failed = replies.flatMap(([error], i) => error === null ? [] : [{ error, key: keys[i] }])
      if (failed.length > 0) {
        const full = failed.flatMap(({ error, key }) => /^OOM/.test(error.message) && key !== undefined ? [key] : [])
        if (full.length < failed.length) throw refusal(failed[0]?.error)
        // Without memory nothing can be written, but an entry can always be deleted, and a lease with it.
        if (connection !== used) throw new Error('the connection was replaced')
        return await this.overwrite(full, null)
      }
      const who = identity(replies.at(-1)?.[1])
      if (who.connection !== used) throw new Error('the connection was replaced')
      return who
    },
    async identify () {
      const used = connection
      let info: unknown
      try {
        info = await client.call('INFO', 'server', 'replication')
      } catch (error) {
        throw refusal(error)
      }
      const who = identity(info)
      if (who.connection !== used) throw new Error('the connection was replaced')
      return who
    },
    close: async () => client.disconnect()
  }
}
