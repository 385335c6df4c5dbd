import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { connect, createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import fastify from 'fastify'
import t, { type Test } from 'tap'
import { watchConnections } from '../../src/http/connections.js'
import { listen } from '../../src/http/listen.js'
import { becomesTrue, patienceMs, skipMissing } from '../fixtures/app.js'
import { freePort } from '../fixtures/servers.js'

const hasIpv6 = Object.values(networkInterfaces()).some(addresses => addresses?.some(({ address }) => address === '::1'))

/** An app with a route that answers when `finish` is called. */
function startSlow (t: Test) {
  const lines: string[] = []
  const app = fastify({
    logger: { stream: { write (line: string) { lines.push(line) } } },
    forceCloseConnections: 'idle',
    return503OnClosing: false
  })
  let finish = () => {}
  let waiting = 0
  const finished = new Promise<void>(resolve => { finish = resolve })
  app.get('/', async () => 'hello')
  app.get('/slow', async () => {
    waiting++
    await finished
    return 'at last'
  })
  t.teardown(() => {
    finish()
    return app.close()
  })
  return { app, lines, finish, waiting: () => waiting }
}

const statusAt = (host: string, port: number, path = '/') => new Promise<number | string | undefined>(resolve => {
  get({ host, port, path, agent: false }, reply => { reply.resume().on('end', () => resolve(reply.statusCode)) })
    .on('error', (error: NodeJS.ErrnoException) => resolve(error.code))
})

t.test('the default address answers on 127.0.0.1 and on ::1, and is printed as localhost', async t => {
  if (!hasIpv6) return skipMissing(t, 'needs ::1: switch IPv6 on')
  for (const host of ['127.0.0.1', 'localhost']) {
    const { app, lines } = startSlow(t)
    const url = await listen(app, { host, port: 0 })
    const { port, hostname } = new URL(url)
    t.equal(hostname, 'localhost')
    t.ok(lines.some(line => line.includes(`Server listening at ${url}`)))
    for (const at of ['127.0.0.1', '::1']) t.equal(await statusAt(at, Number(port)), 200, at)
    await app.close()
    for (const at of ['127.0.0.1', '::1']) t.equal(await statusAt(at, Number(port)), 'ECONNREFUSED', at)
  }
})

t.test('with any other address the server listens on that one only', async t => {
  if (!hasIpv6) return skipMissing(t, 'needs ::1: switch IPv6 on')
  for (const [host, others, printed] of [
    ['127.0.0.2', ['127.0.0.1', '::1'], '127.0.0.2'],
    ['::1', ['127.0.0.1'], 'localhost'],
    ['0.0.0.0', ['::1'], 'localhost']
  ] as const) {
    const { app } = startSlow(t)
    const { port, hostname } = new URL(await listen(app, { host, port: 0 }))
    t.equal(hostname, printed)
    t.equal(await statusAt(host, Number(port)), 200, host)
    for (const other of others) t.equal(await statusAt(other, Number(port)), 'ECONNREFUSED', other)
    await app.close()
  }
})

t.test('closing answers requests in progress on ::1, and does not wait for idle connections there', async t => {
  if (!hasIpv6) return skipMissing(t, 'needs ::1: switch IPv6 on')
  const { app, finish, waiting } = startSlow(t)
  const connections = watchConnections(app.server)
  const port = Number(new URL(await listen(app, { host: '127.0.0.1', port: 0 })).port)
  const idle = connect(port, '::1')
  idle.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  await once(idle, 'data')
  const silent = connect(port, '::1')
  await once(silent, 'connect')

  const request = get({ host: '::1', port, path: '/slow', agent: false })
  await becomesTrue(() => waiting() === 1, patienceMs)
  const ends = [idle, silent].map(socket => once(socket.resume(), 'close'))
  const closed = app.close()
  await ends[0]
  connections.endSilent()
  await ends[1]
  t.equal(await Promise.race([closed.then(() => 'closed'), new Promise(resolve => setTimeout(resolve, 200, 'waits'))]), 'waits')
  finish()
  const [reply] = await once(request, 'response') as [IncomingMessage]
  t.match([reply.statusCode, reply.headers.connection], [200, 'close'])
  reply.resume()
  await closed
})

t.test('another program on ::1 is reported, and the port on 127.0.0.1 is printed', async t => {
  if (!hasIpv6) return skipMissing(t, 'needs ::1: switch IPv6 on')
  const port = await freePort()
  const other = createServer()
  other.listen(port, '::1')
  await once(other, 'listening')
  t.teardown(() => { other.close() })
  const { app, lines } = startSlow(t)
  t.equal(await listen(app, { host: '127.0.0.1', port }), `http://127.0.0.1:${port}`)
  t.match(lines.at(-1), `another program listens on [::1]:${port}`)
  t.equal(await statusAt('127.0.0.1', port), 200)
})

t.test('an address already in use is an error', async t => {
  const { app } = startSlow(t)
  const { app: second } = startSlow(t)
  const { port } = new URL(await listen(app, { host: '127.0.0.1', port: 0 }))
  await t.rejects(listen(second, { host: '127.0.0.1', port: Number(port) }), { code: 'EADDRINUSE' })
})
