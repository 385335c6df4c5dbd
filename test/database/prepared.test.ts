import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { createPostgres } from '../../src/database/postgres.js'
import { serverGround } from '../fixtures/app.js'

const forgets = 'A pooler in front of PostgreSQL forgets prepared statements, so none are used: set prepare=false in DATABASE_URL'

/** What `work` rejects with; null if it doesn't reject. */
const failure = (work: Promise<unknown>) => work.then(() => null, (error: unknown) => error)

/** A pool of one connection to a database of its own, and what it logs. `through`: where it leads instead. */
async function poolOfOne (t: Test, through: (port: number) => Promise<number> = async port => port) {
  const ground = await serverGround(t)
  if (ground?.databaseUrl == null) return null
  const url = new URL(ground.databaseUrl)
  url.port = String(await through(Number(url.port || 5432)))
  const lines: string[] = []
  const log = { warn: (_fields: object, text: string) => { lines.push(text) } } as unknown as NonNullable<Parameters<typeof createPostgres>[2]>['log']
  const database = createPostgres(url.href, 1, { ...log === undefined ? {} : { log } })
  t.teardown(() => database.close())
  const ask = (n: number) => database.prepared<{ n: number }>('select $1::int4 as n', [n])
  const kept = () => database.prepared<{ name: string }>('select name from pg_prepared_statements', [])
  return { database, lines, ask, kept }
}

/** Answers go on being right, nothing is prepared any more, and one line has said so. */
async function isUnprepared (t: Test, { lines, ask, kept }: NonNullable<Awaited<ReturnType<typeof poolOfOne>>>) {
  for (let n = 2; n < 6; n++) t.same(await ask(n), [{ n }], 'the pool has connected anew')
  t.same(await kept(), [], 'and prepares nothing')
  t.same(lines, [forgets])
}

t.test('a prepared statement that exists already (42P05) later on: 503 once, then a pool without prepared statements', async t => {
  const pool = await poolOfOne(t)
  if (pool === null) return
  const { database, lines, ask, kept } = pool
  t.same(await ask(1), [{ n: 1 }])
  const [{ name }] = await kept() as [{ name: string }]
  t.same(lines, [], 'until then they are used')
  // As if another client of a pooler had prepared them: the driver counts its names up.
  const [, stem, count] = /^(.*?)(\d)$/.exec(name) as unknown as [string, string, string]
  const taken = Array.from({ length: 20 }, (_, i) => `prepare "${stem}${Number(count) + 1 + i}" as select 0`)
  await database.prepared(taken.join('; '), [])
  t.match(await failure(database.prepared('select $1::int4 as other', [1])), { statusCode: 503, detail: '42P05' })
  await isUnprepared(t, pool)
})

t.test('a prepared statement that is gone (26000) later on: 503 once, then a pool without prepared statements', async t => {
  let forget = false
  const pool = await poolOfOne(t, port => startForgetting(t, port, () => forget))
  if (pool === null) return
  t.same(await pool.ask(1), [{ n: 1 }])
  t.same(pool.lines, [], 'until then they are used')
  forget = true
  t.match(await failure(pool.ask(2)), { statusCode: 503, detail: '26000' })
  await isUnprepared(t, pool)
})

/** The port of a proxy that, once `forget` says so, asks the server for statements by names that it doesn't know. */
async function startForgetting (t: Test, port: number, forget: () => boolean): Promise<number> {
  const sockets = new Set<Socket>()
  const proxy = createServer(client => {
    const server = connect(port, '127.0.0.1')
    for (const [from, to] of [[client, server], [server, client]] as const) {
      sockets.add(from)
      from.on('error', () => {}).on('close', () => { sockets.delete(from); to.destroy() })
    }
    server.pipe(client)
    client.on('data', chunk => { server.write(forget() ? rename(chunk) : chunk) })
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    proxy.close()
  })
  return (proxy.address() as AddressInfo).port
}

/** Another name of the same length in each message Bind, where it names a statement. */
function rename (chunk: Buffer): Buffer {
  const bind = /(B[\s\S]{4}\0)([0-9a-z]+)(?=\0)/g
  return Buffer.from(chunk.toString('latin1').replace(bind, (_, head: string, name: string) => head + '_'.repeat(name.length)), 'latin1')
}
