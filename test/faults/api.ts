import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { type Call, call, type Reply } from './client.js'
import { startWire } from './wire.js'

/** `doomed`: will be killed during one of its next requests. Only from an instance that is `up` is a failed connection a fault. */
type State = 'up' | 'frozen' | 'doomed' | 'down'

export interface Servers { redisPort: number, databasePort: number, databaseUrl (port: number): string }

/** One API process with a proxy in front of each server it uses. */
export type Api = Awaited<ReturnType<typeof createApi>>

export async function createApi (index: number, entry: string, servers: Servers, env: Record<string, string>) {
  const redisLink = await startWire(servers.redisPort)
  const databaseLink = await startWire(servers.databasePort)
  const log: string[] = []
  let child: ChildProcess | null = null
  let gone: Promise<void> = Promise.resolve()
  let port = 0
  let state: State = 'down'
  let life = 0
  let closed = false
  let onCrash: (text: string) => void = () => {}

  async function start (): Promise<void> {
    const started = spawn(process.execPath, [entry], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: {
        PATH: process.env.PATH ?? '', NODE_ENV: 'test', HOST: '127.0.0.1', PORT: '0', LOG_LEVEL: 'warn',
        DATABASE_URL: servers.databaseUrl(databaseLink.port), REDIS_URL: `redis://127.0.0.1:${redisLink.port}`, ...env
      }
    })
    child = started
    const keep = (chunk: Buffer) => { log.push(...chunk.toString().trimEnd().split('\n')); log.splice(0, log.length - 200) }
    started.stdout?.on('data', keep)
    started.stderr?.on('data', keep)
    gone = new Promise<void>(resolve => started.once('exit', () => {
      const crashed = state === 'up' || state === 'frozen'
      state = 'down'
      life++
      resolve()
      if (!crashed) return
      onCrash(`API ${index} ended by itself: ${log.slice(-8).join(' ')}`)
      void revive()
    }))
    port = await new Promise<number>((resolve, reject) => {
      started.once('message', (message: { port: number }) => resolve(message.port))
      started.once('exit', () => reject(new Error(`API ${index} did not start:\n${log.slice(-12).join('\n')}`)))
    })
    state = 'up'
  }

  /** Restarts it as a supervisor would, until it stays up. */
  async function revive (): Promise<void> {
    for (let i = 0; i < 20 && state === 'down' && !closed; i++) {
      if (i > 0) await delay(500)
      await start().catch(() => {})
    }
  }

  async function kill (): Promise<void> {
    state = 'down'
    life++
    child?.kill('SIGKILL')
    await gone
  }

  return {
    index,
    redisLink,
    databaseLink,
    /** Whether the load balancer leaves it out. */
    shunned: false,
    log,
    start,
    revive,
    kill,
    get state () { return state },
    /** Called when the process ends unexpectedly; it is then restarted. */
    set onCrash (tell: (text: string) => void) { onCrash = tell },
    /** Resolves when the process has ended. */
    get gone () { return gone },

    freeze (): void {
      state = 'frozen'
      child?.kill('SIGSTOP')
    },

    resume (): void {
      child?.kill('SIGCONT')
      state = 'up'
    },

    /** Call before a request during which it is to be killed. */
    doom (): void { state = 'doomed' },

    /** The request ended before the point of death was reached. */
    spare (): void {
      if (state === 'doomed') state = 'up'
    },

    /** `excused`: the process was not up all the time, so a failed connection is no fault. */
    async ask (what: Call): Promise<Reply & { excused: boolean }> {
      const before = { life, wasUp: state === 'up' }
      const reply = await call(port, what)
      return { ...reply, excused: !before.wasUp || state !== 'up' || life !== before.life }
    },

    async close (): Promise<void> {
      closed = true
      await kill()
      redisLink.close()
      databaseLink.close()
    }
  }
}
