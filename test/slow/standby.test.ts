import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { createPostgres } from '../../src/database/postgres.js'
import { becomesTrue, patienceMs, skipMissing, startApp } from '../fixtures/app.js'
import { startOwnPostgres } from '../fixtures/own-postgres.js'
import { findPostgresPrograms } from '../fixtures/postgres-programs.js'
import { createTestDatabase, findRedis, openSql } from '../fixtures/servers.js'

/** A balancer that leads its connections to `ports` in turn. `cut` ends those that stand. */
async function startBalancer (t: Test, ports: number[]): Promise<{ port: number, cut (): void }> {
  const sockets = new Set<Socket>()
  let opened = 0
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

t.test('connections that a balancer leads to a standby are left, and requests are answered by the primary', async t => {
  const bin = findPostgresPrograms()
  const redisUrl = await findRedis()
  if (bin === null || redisUrl === null) return skipMissing(t, 'needs initdb, postgres and Redis: install PostgreSQL and Redis')
  const primary = await startOwnPostgres(bin, ['wal_level=replica', 'hot_standby=on'])
  t.teardown(primary.stop)
  const { url } = await createTestDatabase(primary.url)
  const standby = await primary.follow()
  t.teardown(standby.stop)
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
