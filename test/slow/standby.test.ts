import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/config/config.js'
import { openMigrated } from '../../src/database/open.js'
import { createPostgres } from '../../src/database/postgres.js'
import { becomesTrue, newEmail, password, patienceMs, skipMissing, startApp } from '../fixtures/app.js'
import { startOwnPostgres } from '../fixtures/own-postgres.js'
import { findPostgresPrograms } from '../fixtures/postgres-programs.js'
import { createTestDatabase, findRedis, openSql } from '../fixtures/servers.js'

/** A balancer that leads its connections to `ports` in turn, from the one at `first` on. `cut` ends those that stand. */
async function startBalancer (t: Test, ports: number[], first = 0): Promise<{ port: number, cut (): void }> {
  const sockets = new Set<Socket>()
  let opened = first
  const balancer = createServer(client => {
    const server = connect({ host: '127.0.0.1', port: ports[opened++ % ports.length] as number })
    for (const [from, to] of [[client, server], [server, client]] as const) {
      sockets.add(from)
      from.setNoDelay(true).pipe(to)
      from.on('error', () => {}).once('close', () => {
        sockets.delete(from)
        to.destroy()
      })
    }
  })
  balancer.listen(0, '127.0.0.1')
  await once(balancer, 'listening')
  const cut = () => { for (const socket of sockets) socket.destroy() }
  t.teardown(() => {
    cut()
    balancer.close()
  })
  return { port: (balancer.address() as AddressInfo).port, cut }
}

/** A primary with a database of the newest schema, and a standby of it. */
async function startPair (t: Test) {
  const bin = findPostgresPrograms()
  const redisUrl = await findRedis()
  if (bin === null || redisUrl === null) {
    skipMissing(t, 'needs initdb, postgres and Redis: install PostgreSQL and Redis')
    return null
  }
  const primary = await startOwnPostgres(bin, ['wal_level=replica', 'hot_standby=on'])
  t.teardown(primary.stop)
  const { url } = await createTestDatabase(primary.url)
  const standby = await primary.follow()
  t.teardown(standby.stop)
  return { primary, standby, url, redisUrl }
}

t.test('connections that a balancer leads to a standby are left, and requests are answered by the primary', async t => {
  const pair = await startPair(t)
  if (pair === null) return
  const { primary, standby, url, redisUrl } = pair
  const ports = [primary.port]
  const balancer = await startBalancer(t, ports)
  const balanced = url.replace(String(primary.port), String(balancer.port))
  const ground = {
    name: 'a balancer', databaseUrl: balanced, redisUrl, healthy: false, prefix: `lkt:${process.pid}:standby:`,
    database: async () => createPostgres(balanced, 6)
  }
  const one = await startApp(t, ground)
  const watching = openSql(standby.url.replace(/\/postgres$/, new URL(url).pathname))
  t.teardown(() => watching.end({ timeout: 1 }))

  const { token } = await one.account()
  ports.push(standby.port)
  balancer.cut()

  const round = () => Promise.all(Array.from({ length: 24 }, (_, i) => i % 2 === 0 ? one.me(token) : one.call('GET', '/health/ready')))
  let inARow = 0
  const settled = await becomesTrue(async () => {
    inARow = (await round()).every(({ statusCode }) => statusCode === 200) ? inARow + 1 : 0
    return inARow === 10
  }, 60_000)
  t.equal(settled, true, 'ten rounds of 24 requests without a 503')
  t.equal(await becomesTrue(() => one.epoch.trust() !== null, patienceMs), true, 'the poll has found the primary too')
  const [left] = await watching`
    select count(*)::int as n from pg_stat_activity where datname = current_database() and application_name = 'latchkey'`
  t.equal(left?.n, 0, 'no connection to the standby is left')
  t.equal((await one.logout(token)).statusCode, 204)
  t.equal((await one.me(token)).statusCode, 401)
  await one.close()
})

t.test('a refresh token that a standby has not got yet is answered with 503 there, and works at the primary', async t => {
  const pair = await startPair(t)
  if (pair === null) return
  const { primary, standby, url, redisUrl } = pair
  const ports = [primary.port]
  const balancer = await startBalancer(t, ports)
  const balanced = url.replace(String(primary.port), String(balancer.port))
  const ground = { name: 'a primary', databaseUrl: url, redisUrl, healthy: false, prefix: `lkt:${process.pid}:lags:` }
  const one = await startApp(t, { ...ground, database: async () => createPostgres(url, 6) })
  const two = await startApp(t, { ...ground, database: async () => createPostgres(balanced, 6) })

  await standby.pauseReplay(true)
  const registered = await one.call('POST', '/v1/register', { body: { email: newEmail(), password, refresh: true } })
  const { refreshToken } = registered.json<{ refreshToken: string }>()
  const statuses = async () => {
    const replies = await Promise.all(Array.from({ length: 12 }, () => two.call('POST', '/v1/refresh', { body: { refreshToken } })))
    return new Set(replies.map(({ statusCode }) => statusCode))
  }
  ports.splice(0, 1, standby.port)
  balancer.cut()
  for (let i = 0; i < 20; i++) t.strictSame([...await statuses()], [503])

  ports.splice(0, 1, primary.port)
  balancer.cut()
  t.equal(await becomesTrue(async () => [...await statuses()].join() === '200', patienceMs), true)
  await standby.pauseReplay(false)
})

t.test('a start through a balancer that leads some connections to a standby uses the primary alone', async t => {
  const pair = await startPair(t)
  if (pair === null) return
  const { primary, standby, url, redisUrl } = pair
  for (const ports of [[primary.port, standby.port], [standby.port, standby.port, primary.port], [primary.port, primary.port, standby.port]]) {
    for (const first of ports.keys()) {
      const balancer = await startBalancer(t, ports, first)
      const config = loadConfig({ DATABASE_URL: url.replace(String(primary.port), String(balancer.port)), DATABASE_POOL: '6' })
      const one = await startApp(t, {
        name: 'a balancer', databaseUrl: url, redisUrl, healthy: false, prefix: `lkt:${process.pid}:start:`,
        database: () => openMigrated(config, 'server')
      })
      const { token } = await one.account()
      const replies = await Promise.all(Array.from({ length: 24 }, () => one.me(token)))
      t.ok(replies.every(({ statusCode }) => statusCode === 200), `${ports.indexOf(primary.port)} of ${ports.length}, from ${first}`)
      t.equal((await one.logout(token)).statusCode, 204)
      await one.close()
    }
  }

  const alone = await startBalancer(t, [standby.port])
  const config = loadConfig({ DATABASE_URL: url.replace(String(primary.port), String(alone.port)) })
  const refused = await openMigrated(config, 'server').then(() => null, (error: Error) => error)
  t.match(refused, { name: 'DatabaseUnreachableError' })
  t.match(refused?.message, /^PostgreSQL at \S+ is a standby, which takes no changes: DATABASE_URL has to lead to the primary\.$/)
})
