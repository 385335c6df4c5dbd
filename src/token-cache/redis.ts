import { Command, type Redis } from 'ioredis'
import { type CacheLink, type Identity, MisroutedError, RefusedCommandError } from './backend.js'
import { batchPerTurn } from './batch.js'
import type { SlotRow } from './slots.js'

const compareAndSetScript = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1 end return 0"

/** The link to one server; of a cluster it also tells who has which slots. */
export interface RedisLink extends CacheLink { slots (): Promise<SlotRow[]> }

interface Options {
  /** Looks at the server behind each new connection before anything is asked of it: a `replica` is left, and so is one that is `unfit`. */
  examine? (): Promise<'fit' | 'replica' | 'unfit'>
  /** A server of a cluster: a replica is worth a connection there, to ask where the masters are, and one command has one slot's keys. */
  inCluster?: boolean
  /** Ends the client for good. */
  close? (): void
  /** Told of every connection that is there, and of every one that is gone. */
  onChange? (): void
}

/** The commands on a Redis server (7 or later, for SET … NX GET). `client` neither queues, nor resends, nor waits: see edges/redis.ts. */
export function createRedisLink (client: Redis, { examine = async () => 'fit', inCluster = false, close = () => client.disconnect(), onChange = () => {} }: Options = {}): RedisLink {
  let opened = 0
  let connection: number | null = null
  let foundReplica = false
  client.on('ready', () => { void greet() })
  client.on('close', () => {
    opened++
    connection = null
    onChange()
  })
  if (client.status === 'ready') void greet()

  /** The connection counts once its server has been looked at. */
  async function greet (): Promise<void> {
    const mine = ++opened
    const found = await examine().catch(() => 'unfit' as const)
    if (mine !== opened) return
    foundReplica = found === 'replica'
    if (found !== 'fit') return leave()
    connection = mine
    onChange()
  }

  /** The next connection finds out who answers there, or who the Sentinels say is master now. */
  function leave (): void {
    connection = null
    if (client.status === 'ready' || client.status === 'connect') client.disconnect(true)
  }

  /** A server that loads, was demoted under our feet, or forbids what it allowed, is left. */
  function refusal (error: unknown): unknown {
    if (!(error instanceof Error) || error.name !== 'ReplyError') return error
    if (/^(READONLY|LOADING|MASTERDOWN|NOPERM|NOAUTH)/.test(error.message)) {
      leave()
      return error
    }
    if (/^MOVED/.test(error.message)) return new MisroutedError('another server has this key')
    // The whole cluster is down, not this command refused.
    if (/^CLUSTERDOWN/.test(error.message)) return error
    return new RefusedCommandError(error.message.split(' ', 1)[0])
  }

  function identity (info: unknown): Identity {
    if (connection === null) throw new Error('the connection was lost')
    const field = (name: string) => new RegExp(`^${name}:(\\S+)`, 'm').exec(String(info))?.[1]
    const [run, replication, role] = [field('run_id'), field('master_replid'), field('role')]
    const known = run !== undefined && replication !== undefined && role === 'master'
    const who = { connection, incarnation: known ? `${run}:${replication}:${client.options.db ?? 0}` : null }
    // It would answer INFO for ever, and nobody would look for its successor.
    if (role !== undefined && role !== 'master' && !inCluster) {
      foundReplica = true
      leave()
    }
    return who
  }

  /** One command, on a connection whose server has been looked at. */
  async function send<T> (work: () => Promise<T>): Promise<T> {
    if (connection === null) throw new Error('not connected')
    try {
      return await work()
    } catch (error) {
      throw refusal(error)
    }
  }

  const look = batchPerTurn(keys => send(() => inCluster ? Promise.all(keys.map(key => client.get(key))) : readAll(keys)))

  /**
   * The last one by GETEX, a GET that a replica refuses, and so with it all that were read before: a master that was demoted under this
   * connection would go on answering MGET. In a cluster it answers MOVED.
   */
  async function readAll (keys: string[]): Promise<Array<string | null>> {
    const others = keys.slice(0, -1)
    const [found, last] = await Promise.all([
      others.length === 0 ? [] : read<Array<string | null>>('mget', others),
      read<string | null>('getex', keys.slice(-1))
    ])
    return [...found, last]
  }

  /** By itself, not through ioredis' own pipelining, which would wait for another turn. */
  function read<Reply> (command: 'mget' | 'getex', keys: string[]): Promise<Reply> {
    return client.sendCommand(new Command(command, keys, { replyEncoding: 'utf8' })) as Promise<Reply>
  }

  return {
    get connection () { return connection },
    look,
    takeLease: (key, lease, ttlMs) => send(() => client.set(key, lease, 'PX', ttlMs, 'NX', 'GET')),
    compareAndSet: (key, expected, value, ttlMs) => send(async () => await client.eval(compareAndSetScript, 1, key, expected, value, ttlMs) === 1),
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
        if (full.length < failed.length) throw refusal(failed.find(({ error }) => !/^OOM/.test(error.message))?.error)
        // Without memory nothing can be written, but an entry can always be deleted, and a lease with it.
        if (connection !== used) throw new Error('the connection was replaced')
        return await this.overwrite(full, null)
      }
      const who = identity(replies.at(-1)?.[1])
      if (who.connection !== used) throw new Error('the connection was replaced')
      return who
    },
    async identify () {
      // Connection 0 is none that ever counts.
      if (connection === null && foundReplica) return { connection: 0, incarnation: null }
      const used = connection
      const info = await send(() => client.call('INFO', 'server', 'replication'))
      const who = identity(info)
      if (who.connection !== used) throw new Error('the connection was replaced')
      return who
    },
    slots: () => send(async () => await client.call('CLUSTER', 'SLOTS') as SlotRow[]),
    close: async () => close()
  }
}
