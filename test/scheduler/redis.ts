import { type CacheBackend, type Identity, RefusedCommandError } from '../../src/token-cache/backend.js'
import { batchPerTurn } from '../../src/token-cache/batch.js'
import type { Gate, Process, Schedule } from './scheduler.js'

const commandTimeoutMs = 100

interface Entry { value: string, expiresAt: number }
type Change = { key: string, entry: Entry | null }
type Exec = (server: RedisServer) => unknown

interface Command {
  name: string
  exec: Exec
  arrived: boolean
  returned: boolean
  outcome: { value: unknown } | { error: Error } | null
  timer: Gate | null
  resolve: ((value: unknown) => void) | null
  reject (error: Error): void
}

/** One TCP connection: commands and replies each stay in order. */
interface Wire {
  server: RedisServer
  process: Process
  commands: Command[]
  replies: Command[]
  cut: boolean
  open: boolean
  broken (): void
  deliver (): void
}

class ReplyError extends Error {}

/** A Redis server: its keys, who copies them, and what it says of itself. */
export interface RedisServer {
  readonly name: string
  role: 'master' | 'slave'
  run: string
  replication: string
  alive: boolean
  frozen: boolean
  full: boolean
  keys: Map<string, Entry>
  snapshot: Map<string, Entry>
  wires: Set<Wire>
  replicas: Set<RedisServer>
  /** Its master's changes that it hasn't applied yet. */
  backlog: Change[]
}

/** A simulated connection to Redis, and what tests do to it. */
export interface SimulatedLink extends CacheBackend {
  readonly process: Process
  /** The server that the next connection leads to. */
  route: RedisServer
  /** Closes the connection; a new one is dialled soon. */
  drop (): void
  /** While on, the network delivers nothing; afterwards it delivers everything. */
  cut (off: boolean): void
  /** For mutants: writes without comparing. */
  overwriteWith (key: string, value: string, ttlMs: number): Promise<boolean>
  /** For mutants: the last key of a batch is read by GET, which a replica answers. */
  getUnvouched (key: string): Promise<string | null>
}

export type SimulatedRedis = ReturnType<typeof createSimulatedRedis>

/** Simulated Redis: servers, replication that lags, and connections that behave as token-cache/redis.ts does on ioredis. */
export function createSimulatedRedis (schedule: Schedule, latency: (kind: 'redis' | 'replication' | 'dial') => number, names: string[]) {
  const { random } = schedule
  let births = 0
  const servers = names.map((name): RedisServer => ({
    name, role: 'master', run: `run${++births}`, replication: `replication${births}`, alive: true, frozen: false, full: false,
    keys: new Map(), snapshot: new Map(), wires: new Set(), replicas: new Set(), backlog: []
  }))

  const identify = (server: RedisServer) => server.role === 'master' ? `${server.run}:${server.replication}:0` : null

  function get (server: RedisServer, key: string): string | null {
    const entry = server.keys.get(key)
    if (entry === undefined || entry.expiresAt > schedule.now()) return entry?.value ?? null
    server.keys.delete(key)
    return null
  }

  function write (server: RedisServer, key: string, entry: Entry | null): void {
    apply(server, { key, entry })
    for (const replica of server.replicas) {
      replica.backlog.push({ key, entry })
      const upTo = replica.backlog.at(-1)
      schedule.after(latency('replication'), `${replica.name} copies`, () => {
        const last = upTo === undefined ? -1 : replica.backlog.indexOf(upTo)
        for (const change of replica.backlog.splice(0, last + 1)) apply(replica, change)
      })
    }
  }

  function requireWritable (server: RedisServer, grows = true): void {
    if (server.role !== 'master') throw new ReplyError('READONLY')
    if (grows && server.full) throw new ReplyError('OOM')
  }

  const set = (key: string, value: string, ttlMs: number): Exec => server => {
    requireWritable(server)
    write(server, key, { value, expiresAt: schedule.now() + ttlMs })
    return true
  }

  const del = (key: string): Exec => server => {
    requireWritable(server, false)
    write(server, key, null)
    return true
  }

  function follow (replica: RedisServer, master: RedisServer): void {
    for (const server of servers) server.replicas.delete(replica)
    replica.role = 'slave'
    replica.replication = master.replication
    replica.backlog = []
    replica.keys = new Map(master.keys)
    master.replicas.add(replica)
  }

  /** Closes every connection of `server`; its clients notice a little later. */
  function hangUp (server: RedisServer): void {
    for (const wire of server.wires) {
      wire.open = false
      wire.commands = []
      schedule.after(latency('redis'), `${wire.process.name} loses ${server.name}`, wire.broken, { process: wire.process, wakes: true })
    }
    server.wires.clear()
  }

  function advance (wire: Wire): void {
    const { server } = wire
    while (wire.commands[0]?.arrived === true && wire.open && !wire.cut && !server.frozen) {
      const command = wire.commands.shift() as Command
      try {
        command.outcome = { value: command.exec(server) }
      } catch (error) {
        command.outcome = { error: error as Error }
      }
      wire.replies.push(command)
      schedule.after(latency('redis'), `${command.name} replies`, () => {
        command.returned = true
        wire.deliver()
      }, { process: wire.process, wakes: true })
    }
  }

  function link (process: Process, route: RedisServer): SimulatedLink {
    let opened = 0
    let wire: Wire | null = null
    let unreachable = false

    function dial (): void {
      if (wire !== null) return
      const { route: server } = self
      if (unreachable || !server.alive || server.frozen) {
        schedule.after(200, `${process.name} dials again`, dial, { process, timer: true })
        return
      }
      const made: Wire = {
        server, process, commands: [], replies: [], cut: false, open: true,
        broken: () => { if (wire === made) close() },
        deliver () {
          while (made.replies[0]?.returned === true && wire === made && !made.cut) finish(made.replies.shift() as Command)
        }
      }
      wire = made
      opened++
      server.wires.add(made)
    }

    function close (): void {
      const ended = wire
      if (ended === null) return
      wire = null
      // Commands sent may have reached the server, all, some or none of them.
      const reaching = Math.floor(random() * (ended.commands.length + 1))
      ended.commands.splice(reaching)
      for (const command of [...ended.commands, ...ended.replies]) settle(command, { error: new Error('the connection was lost') })
      schedule.after(latency('dial'), `${process.name} dials`, dial, { process, timer: true, wakes: true })
    }

    function settle (command: Command, outcome: { value: unknown } | { error: Error }): void {
      const { resolve } = command
      // A dead process doesn't run on.
      if (resolve === null || !process.alive) return
      command.resolve = null
      schedule.cancel(command.timer)
      if ('value' in outcome) resolve(outcome.value)
      else command.reject(outcome.error)
    }

    function finish (command: Command): void {
      const outcome = command.outcome ?? { error: new Error('no reply') }
      if ('error' in outcome && outcome.error.message === 'READONLY') close()
      settle(command, 'error' in outcome && outcome.error.message === 'OOM' ? { error: new RefusedCommandError('OOM') } : outcome)
    }

    function send (name: string, exec: Exec): Promise<unknown> {
      const used = wire
      if (used === null) return Promise.reject(new Error('not connected'))
      const command: Command = {
        name: `${process.name} ${name}`,
        exec,
        arrived: false,
        returned: false,
        outcome: null,
        timer: null,
        resolve: null,
        reject: () => {}
      }
      const reply = new Promise<unknown>((resolve, reject) => Object.assign(command, { resolve, reject }))
      used.commands.push(command)
      schedule.after(latency('redis'), `${command.name} runs`, () => {
        command.arrived = true
        advance(used)
      })
      command.timer = schedule.after(
        commandTimeoutMs,
        `${command.name} times out`,
        () => settle(command, { error: new Error('Command timed out') }),
        { process, timer: true, wakes: true }
      )
      return reply
    }

    /** As ioredis collects commands of an event-loop turn: what is sent goes to the connection that is there by then. */
    async function sendLater (name: string, exec: Exec): Promise<unknown> {
      if (wire === null) throw new Error('not connected')
      await new Promise(resolve => { setImmediate(resolve) })
      return await send(name, exec)
    }

    const getex = (key: string) => send('GETEX', server => {
      requireWritable(server, false)
      return get(server, key)
    })

    /** The last key of a batch is read by a command that a replica refuses, and vouches for the others. */
    const readAll = (readLast: (key: string) => Promise<unknown>) => async (keys: string[]): Promise<Array<string | null>> => {
      const others = keys.slice(0, -1)
      const [found, last] = await Promise.all([
        others.length === 0 ? [] : send('MGET', server => others.map(key => get(server, key))),
        readLast(keys.at(-1) as string)
      ])
      return [...found as Array<string | null>, last as string | null]
    }

    async function identity (used: number): Promise<Identity> {
      const incarnation = await send('INFO', identify) as string | null
      if (wire === null || opened !== used) throw new Error('the connection was replaced')
      return { connection: used, incarnation }
    }

    const self: SimulatedLink = {
      process,
      route,
      get connection () { return wire === null ? null : opened },
      drop: close,
      cut (off) {
        unreachable = off
        if (wire === null) return
        wire.cut = off
        advance(wire)
        wire.deliver()
      },
      get: batchPerTurn(readAll(getex)),
      getUnvouched: batchPerTurn(readAll(key => send('GET', server => get(server, key)))),
      takeLease: (key, lease, ttlMs) => sendLater('SET NX GET', server => {
        requireWritable(server)
        const there = get(server, key)
        if (there === null) write(server, key, { value: lease, expiresAt: schedule.now() + ttlMs })
        return there
      }) as Promise<string | null>,
      compareAndSet: (key, expected, value, ttlMs) => sendLater(`compare-and-set ${value[0]}`, server => {
        if (get(server, key) !== expected) return false
        return set(key, value, ttlMs)(server)
      }) as Promise<boolean>,
      overwriteWith: (key, value, ttlMs) => send('SET', set(key, value, ttlMs)) as Promise<boolean>,
      async overwrite (keys, ttlMs) {
        if (wire === null) throw new Error('not connected')
        const used = opened
        const writes = keys.map(key => ttlMs === null ? send('DEL', del(key)) : send('SET R', set(key, 'R', ttlMs)))
        const replies = await Promise.allSettled([...writes, identity(used)])
        const failed = replies.flatMap((reply, i) => reply.status === 'fulfilled' ? [] : [{ error: reply.reason as Error, key: keys[i] }])
        if (failed.length === 0) return (replies.at(-1) as PromiseFulfilledResult<Identity>).value
        const full = failed.flatMap(({ error, key }) => error instanceof RefusedCommandError && key !== undefined ? [key] : [])
        if (full.length < failed.length) throw failed[0]?.error
        return await self.overwrite(full, null)
      },
      identify: () => wire === null ? Promise.reject(new Error('not connected')) : identity(opened),
      close: async () => close()
    }
    dial()
    return self
  }

  return {
    servers,
    identify,
    link,
    follow,
    hangUp,
    get,

    freeze (server: RedisServer, frozen: boolean): void {
      server.frozen = frozen
      for (const wire of server.wires) advance(wire)
    },

    /** Kills the server; `downMs` later it is back with the data of its last snapshot. */
    restart (server: RedisServer, downMs: number): void {
      server.alive = false
      hangUp(server)
      schedule.after(downMs, `${server.name} is back`, () => {
        Object.assign(server, { alive: true, frozen: false, run: `run${++births}`, keys: new Map(server.snapshot) })
        if (server.role === 'master') server.replication = `replication${births}`
      })
    },

    /** Makes a replica master. The changes in its backlog are lost; the old master, if alive, remains a master. */
    promote (replica: RedisServer): void {
      for (const server of servers) server.replicas.delete(replica)
      Object.assign(replica, { role: 'master', replication: `replication${++births}`, backlog: [] })
      hangUp(replica)
    },

    evict (server: RedisServer, key: string): void {
      if (server.role === 'master' && server.keys.has(key)) write(server, key, null)
    }
  }
}

function apply (server: RedisServer, { key, entry }: Change): void {
  if (entry === null) server.keys.delete(key)
  else server.keys.set(key, entry)
}
