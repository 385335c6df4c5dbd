import t from 'tap'
import { becomesTrue, newEmail, password, patienceMs, serverGround, skipMissing } from '../fixtures/app.js'
import { compileServer, createInstance } from '../fixtures/instance.js'
import { freePort, hasRedisServer, startRedis } from '../fixtures/servers.js'
import { startBalancer } from './balancer.js'

const restarts = 6

t.test('restarting instances one after another under load fails no request', { timeout: 300_000 }, async t => {
  if (!hasRedisServer) return skipMissing(t, 'needs a redis-server binary: install Redis 7 or later')
  await compileServer()
  const redis = await startRedis()
  t.teardown(() => redis.kill())
  const ground = await serverGround(t, { redisUrl: redis.url })
  if (ground?.databaseUrl == null) return
  const env = {
    PATH: process.env.PATH ?? '',
    DATABASE_URL: ground.databaseUrl,
    REDIS_URL: redis.url,
    DRAIN_DELAY: '6s',
    BCRYPT_COST: '10',
    LOGIN_LIMIT: '1000000/1m',
    ADDRESS_LIMIT: '0',
    LOG_LEVEL: 'warn'
  }
  const ports = [await freePort(), await freePort()]
  const instances = ports.map(port => createInstance(t, port, env))
  await Promise.all(instances.map(instance => instance.start()))
  // The balancer drops a server after two checks of at most 2 s each: within DRAIN_DELAY.
  const balancer = await startBalancer(ports, 500)
  t.teardown(balancer.close)
  t.equal(await becomesTrue(() => ports.every(port => balancer.isIn(port)), patienceMs), true)

  const load = createLoad(balancer.url)
  const workers = [...Array.from({ length: 12 }, () => load.read()), ...Array.from({ length: 4 }, () => load.live())]
  t.equal(await becomesTrue(() => load.answered.me > 100 && load.answered.logout > 0, 30_000), true, 'the load runs')

  const tookMs: number[] = []
  for (let i = 0; i < restarts; i++) {
    const instance = instances[i % 2] as typeof instances[number]
    const { code, ms } = await instance.end()
    t.equal(code, 0, instance.output())
    tookMs.push(ms)
    await instance.start()
    t.equal(await becomesTrue(() => balancer.isIn(ports[i % 2] as number), patienceMs), true, 'it is back')
  }
  load.stop()
  await Promise.all(workers)

  t.strictSame(load.failures, [], 'every request was answered as if nothing had happened')
  t.strictSame(balancer.failures, [])
  const total = Object.values(load.answered).reduce((sum, count) => sum + count, 0)
  t.ok(total > 1_000, `${total} requests`)
  t.ok(Math.max(...tookMs) < 14_000)
  t.comment(
    `${restarts} restarts, ${total} requests (${Object.entries(load.answered).map(([name, count]) => `${name} ${count}`)
      .join(', ')}), ${load.failures.length} failed; an instance ended within ${Math.round(Math.max(...tookMs))} ms of SIGTERM`
  )
})

/** Clients of the service at `url` that check every answer. */
function createLoad (url: string) {
  const answered = { register: 0, login: 0, me: 0, refresh: 0, logout: 0, 'me after logout': 0 }
  const failures: string[] = []
  let running = true

  async function ask (
    name: keyof typeof answered,
    expected: number,
    path: string,
    { token, body }: { token?: string | undefined, body?: object } = {}
  ): Promise<{ accessToken?: string, refreshToken?: string }> {
    const method = name.startsWith('me') ? 'GET' : 'POST'
    const headers = {
      ...token === undefined ? {} : { authorization: `Bearer ${token}` },
      ...body === undefined ? {} : { 'content-type': 'application/json' }
    }
    try {
      const reply = await fetch(`${url}${path}`, { method, headers, ...body === undefined ? {} : { body: JSON.stringify(body) } })
      const said = await reply.text()
      answered[name]++
      if (reply.status !== expected) failures.push(`${name}: ${reply.status} ${said}`)
      return said === '' ? {} : JSON.parse(said) as object
    } catch (error) {
      failures.push(`${name}: ${(error as Error).message}`)
      return {}
    }
  }

  return {
    answered,
    failures,
    stop (): void { running = false },

    /** Calls the API with one token, again and again. */
    async read (): Promise<void> {
      const { accessToken: token } = await ask('register', 201, '/v1/register', { body: { email: newEmail(), password } })
      while (running) {
        await ask('me', 200, '/v1/me', { token })
        await new Promise(resolve => setTimeout(resolve, 10))
      }
    },

    /** Logs in, refreshes and logs out, again and again. */
    async live (): Promise<void> {
      const email = newEmail()
      await ask('register', 201, '/v1/register', { body: { email, password } })
      while (running) {
        const first = await ask('login', 200, '/v1/login', { body: { email, password, refresh: true } })
        await ask('me', 200, '/v1/me', { token: first.accessToken })
        const { accessToken: token } = await ask('refresh', 200, '/v1/refresh', { body: { refreshToken: first.refreshToken } })
        await ask('me', 200, '/v1/me', { token })
        await ask('logout', 204, '/v1/logout', { token })
        await ask('me after logout', 401, '/v1/me', { token })
      }
    }
  }
}
