import { Command, type Redis } from 'ioredis'
import { isHidden } from '../shared/redis-info.js'
import { type CacheBackend, type Identity, MisroutedError, RefusedCommandError } from './backend.js'
import { batchPerTurn } from './batch.js'
import type { SlotRow } from './slots.js'

/** Keys a pipeline: it has to be answered within the time-out of one command. */
const pieceSize = 250

const compareAndSetScript = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1 end return 0"

/** One Redis server; one of a cluster also says who has which slots. */
export interface RedisBackend extends CacheBackend { slots (): Promise<SlotRow[]> }

interface RedisBackendOptions {
  /** Checks the server behind each new connection before it is used: a `replica` is left, and so is one that is `unfit`. */
  examine? (): Promise<'fit' | 'replica' | 'unfit'>
  /** A server of a cluster: its replicas are worth a connection too, to ask who the masters are, and a command may not span slots. */
  inCluster?: boolean
  /** Ends the client for good. */
  close? (): void
  /** Called whenever a connection opens or closes. */
  onChange? (): void
}

/** Redis 7 or later, for SET … NX GET. `client` must neither queue, nor resend, nor wait: see redis/client.ts. */
export function createRedisBackend (
  client: Redis,
  { examine = async () => 'fit', inCluster = false, close = () => client.disconnect(), onChange = () => {} }: RedisBackendOptions = {}
): RedisBackend {
  let opened = 0
  let connection: number | null = null
  let foundReplica = false
  client.on('ready', () => { void begin() })
  client.on('close', () => {
    opened++
    connection = null
    onChange()
  })
  if (client.status === 'ready') void begin()

  /** A connection counts only once its server was examined. */
  async function begin (): Promise<void> {
    const mine = ++opened
    const found = await examine().catch(() => 'unfit' as const)
    if (mine !== opened) return
    foundReplica = found === 'replica'
    if (found !== 'fit') return leave()
    connection = mine
    onChange()
  }

  /** The next connection shows who answers there now, or whom the Sentinels call master. */
  function leave (): void {
    connection = null
    if (client.status === 'ready' || client.status === 'connect') client.disconnect(true)
  }

  /** Leaves a server that is loading, was demoted under this connection, or forbids what it allowed before. */
  function refusal (error: unknown): unknown {
    if (!(error instanceof Error) || error.name !== 'ReplyError') return error
    if (/^(READONLY|LOADING|MASTERDOWN|NOPERM|NOAUTH)/.test(error.message)) {
      leave()
      return error
    }
    if (/^MOVED/.test(error.message)) return new MisroutedError('another server has this key')
    // The whole cluster is down: not a refusal of this one command.
    if (/^CLUSTERDOWN/.test(error.message)) return error
    return new RefusedCommandError(error.message.split(' ', 1)[0])
  }

  function identityOf (info: unknown): Identity {
    if (connection === null) throw new Error('the connection was lost')
    const field = (name: string) => new RegExp(`^${name}:(\\S+)`, 'm').exec(String(info))?.[1]
    const [run, replication, role] = [field('run_id'), field('master_replid'), field('role')]
    const known = !isHidden(run) && !isHidden(replication) && role === 'master'
    const identity = { connection, incarnation: known ? `${run}:${replication}:${client.options.db ?? 0}` : null }
    // A replica would answer INFO for ever, and nobody would look for its master.
    if (role !== undefined && role !== 'master' && !inCluster) {
      foundReplica = true
      leave()
    }
    return identity
  }

  function requireSame (used: number | null, now = connection): void {
    if (now !== used) throw new Error('the connection was replaced')
  }

  /** Sends one command, on a connection whose server was examined. */
  async function send<T> (work: () => Promise<T>): Promise<T> {
    if (connection === null) throw new Error('not connected')
    try {
      return await work()
    } catch (error) {
      throw refusal(error)
    }
  }

  const get = batchPerTurn(keys => send(() => inCluster ? Promise.all(keys.map(key => client.get(key))) : readAll(keys)))

  /**
   * The last key by GETEX, a GET that a replica refuses: it vouches for the keys read before it. A master that was demoted under this
   * connection would go on answering MGET; in a cluster it answers MOVED.
   */
  async function readAll (keys: string[]): Promise<Array<string | null>> {
    const others = keys.slice(0, -1)
    const [found, last] = await Promise.all([
      others.length === 0 ? [] : read<Array<string | null>>('mget', others),
      read<string | null>('getex', keys.slice(-1))
    ])
    return [...found, last]
  }

  /** Sent directly: ioredis' own pipelining would wait for another turn. */
  function read<Reply> (command: 'mget' | 'getex', keys: string[]): Promise<Reply> {
    return client.sendCommand(new Command(command, keys, { replyEncoding: 'utf8' })) as Promise<Reply>
  }

  /** In pieces, so that the commands of requests get through between them, each of which asks who answers. */
  async function overwrite (keys: string[], ttlMs: number | null): Promise<Identity> {
    if (connection === null) throw new Error('not connected')
    const used = connection
    const last = Math.floor(Math.max(0, keys.length - 1) / pieceSize) * pieceSize
    for (let from = 0; from < last; from += pieceSize) {
      await overwritePiece(keys.slice(from, from + pieceSize), ttlMs, used)
    }
    return await overwritePiece(keys.slice(last), ttlMs, used)
  }

  async function overwritePiece (keys: string[], ttlMs: number | null, used: number): Promise<Identity> {
    const pipeline = client.pipeline()
    for (const key of keys) {
      if (ttlMs === null) pipeline.del(key)
      else pipeline.set(key, 'R', 'PX', ttlMs)
    }
    const replies = await pipeline.call('INFO', 'server', 'replication').exec()
    if (replies === null || replies.length !== keys.length + 1) throw new Error('the pipeline was not answered')
    // A pipeline resolves even if commands in it failed: each reply has to be checked.
    const failed = replies.flatMap(([error], i) => error === null ? [] : [{ error, key: keys[i] }])
    if (failed.length > 0) {
      const full = failed.flatMap(({ error, key }) => /^OOM/.test(error.message) && key !== undefined ? [key] : [])
      if (full.length < failed.length) throw refusal(failed.find(({ error }) => !/^OOM/.test(error.message))?.error)
      // Without memory nothing can be written, but entries and leases can always be deleted.
      requireSame(used)
      return await overwritePiece(full, null, used)
    }
    const identity = identityOf(replies.at(-1)?.[1])
    requireSame(used, identity.connection)
    return identity
  }

  async function identify (): Promise<Identity> {
    // Connection 0 never counts.
    if (connection === null && foundReplica) return { connection: 0, incarnation: null }
    const used = connection
    const identity = identityOf(await send(() => client.call('INFO', 'server', 'replication')))
    requireSame(used, identity.connection)
    return identity
  }

  return {
    get connection () { return connection },
    get,
    takeLease: (key, lease, ttlMs) => send(() => client.set(key, lease, 'PX', ttlMs, 'NX', 'GET')),
    compareAndSet: (
      key,
      expected,
      value,
      ttlMs
    ) => send(async () => await client.eval(compareAndSetScript, 1, key, expected, value, ttlMs) === 1),
    overwrite,
    identify,
    slots: () => send(async () => await client.call('CLUSTER', 'SLOTS') as SlotRow[]),
    close: async () => close()
  }
}
