import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { type AttributeValue, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { InMemorySpanExporter, NodeTracerProvider, type ReadableSpan, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { findTracing } from '../../src/observability/tracing.js'
import { UnavailableError } from '../../src/shared/errors.js'
import { becomesTrue, newEmail, onEachGround, password, startApp } from '../fixtures/app.js'

t.test('without an SDK there is no tracing', async t => {
  t.equal(findTracing(), null)
})

t.test('with one', async t => {
  const exporter = new InMemorySpanExporter()
  const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  provider.register()
  t.teardown(async () => {
    await provider.shutdown()
    trace.disable()
  })
  t.not(findTracing(), null)

  onEachGround(t, async (t, ground) => {
    const one = await startApp(t, ground)

    /** The spans that `work` causes. */
    async function spansOf (work: () => Promise<unknown>): Promise<ReadableSpan[]> {
      exporter.reset()
      await work()
      return exporter.getFinishedSpans()
    }
    const named = (spans: ReadableSpan[], name: string) => spans.find(span => span.name === name) as ReadableSpan
    const parentOf = (
      spans: ReadableSpan[],
      span: ReadableSpan | undefined
    ) => spans.find(other => other.spanContext().spanId === span?.parentSpanContext?.spanId)?.name
    const outcomes = (spans: ReadableSpan[]) =>
      spans.filter(({ name }) => name === 'cache look-up').map(({ attributes }) => attributes['latchkey.cache.outcome'])

    t.test('a request is a server span named by its route, in the trace of its caller', async t => {
      const { token } = await one.account()
      const traceId = '0af7651916cd43dd8448eb211c80319c'
      const spans = await spansOf(() => one.call('GET', '/v1/me', { token, headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` } }))
      const span = named(spans, 'GET /v1/me')
      t.equal(span.kind, SpanKind.SERVER)
      t.match(
        span.attributes,
        {
          'http.request.method': 'GET',
          'http.route': '/v1/me',
          'http.response.status_code': 200,
          'url.scheme': 'http',
          'latchkey.request_id': /^[0-9a-f-]{36}-\d+$/
        }
      )
      t.equal(span.status.code, SpanStatusCode.UNSET)
      t.equal(span.parentSpanContext?.spanId, 'b7ad6b7169203331')
      t.same([...new Set(spans.map(each => each.spanContext().traceId))], [traceId])
    })

    t.test('a look-up records its cache outcome, and a miss is followed by the SQL statement', async t => {
      const { token } = await one.account()
      t.ok(await one.cached(token))
      await one.trusted()
      const hit = await spansOf(() => one.me(token))
      t.same(outcomes(hit), ['hit'])
      t.equal(parentOf(hit, named(hit, 'cache look-up')), 'GET /v1/me')
      t.equal(named(hit, 'SELECT tokens'), undefined)

      // A personal token is not cached before its first use.
      const { accessToken } = (await one.call('POST', '/v1/tokens', { token, body: { name: 'ci' } })).json<{ accessToken: string }>()
      await one.trusted()
      const miss = await spansOf(() => one.me(accessToken))
      t.same(outcomes(miss), ['miss'])
      t.match(
        named(miss, 'SELECT tokens').attributes,
        { 'db.system.name': 'postgresql', 'db.operation.name': 'SELECT', 'db.collection.name': 'tokens', 'latchkey.lookups': 1 }
      )
      t.equal(parentOf(miss, named(miss, 'SELECT tokens')), 'GET /v1/me')

      // No poll may come in between.
      await one.epoch.stop()
      one.clock.advance(1_600)
      const bypass = await spansOf(() => one.me(token))
      t.same(outcomes(bypass), ['bypass'])
      await one.trusted()
    })

    t.test('a revocation span contains its transaction and its settlement', async t => {
      const { token } = await one.account()
      const spans = await spansOf(() => one.logout(token))
      t.equal(parentOf(spans, named(spans, 'revocation')), 'POST /v1/logout')
      t.equal(parentOf(spans, named(spans, 'transaction')), 'revocation')
      t.equal(parentOf(spans, named(spans, 'settlement')), 'revocation')
      t.equal(named(spans, 'settlement').attributes['latchkey.tokens'], 1)
      t.equal(named(spans, 'POST /v1/logout').attributes['http.response.status_code'], 204)
    })

    t.test('a login verifies its password in its own trace, however late the body arrives', async t => {
      const { email } = await one.account()
      const spans = await spansOf(() => one.login(email))
      t.equal(parentOf(spans, named(spans, 'password verify')), 'POST /v1/login')
      const late = await spansOf(() => logInSlowly(one.app, JSON.stringify({ email, password }), socket => once(socket, 'close')))
      t.equal(parentOf(late, named(late, 'password verify')), 'POST /v1/login')
      const wrong = await spansOf(() => one.login(email, { password: 'wrong password' }))
      t.equal(named(wrong, 'POST /v1/login').status.code, SpanStatusCode.UNSET, 'a refusal is not a server failure')
      t.equal(named(wrong, 'POST /v1/login').attributes['http.response.status_code'], 401)
    })

    t.test('a failure marks its spans as errors', async t => {
      const other = await startApp(t, ground, { settle: real => ({ ...real, settle: () => Promise.reject(new UnavailableError()) }) })
      const { token } = await other.account()
      const spans = await spansOf(() => other.logout(token))
      for (const [name, type] of [
        ['POST /v1/logout', '503'],
        ['revocation', 'AUTH_UNAVAILABLE'],
        ['settlement', 'AUTH_UNAVAILABLE']
      ] as const) {
        t.match(named(spans, name).status, { code: SpanStatusCode.ERROR, message: undefined }, name)
        t.equal(named(spans, name).attributes['error.type'], type, name)
      }
      t.equal(named(spans, 'transaction').status.code, SpanStatusCode.UNSET)
    })

    t.test('a request that matches no route is named by its method alone', async t => {
      const [span] = await spansOf(() => one.call('GET', '/v1/no-such-route'))
      t.equal(span?.name, 'GET')
      t.notOk('http.route' in (span?.attributes ?? {}))
    })

    t.test('background work has no span', async t => {
      t.same(
        (await spansOf(async () => { await one.epoch.poll(); await one.lastUse.flush(); await one.prune({ dryRun: false }) })).map(({ name }) =>
          name),
        []
      )
    })

    t.test('the span of a request whose client disconnects ends as an error', async t => {
      const { email } = await one.account()
      const [span] = await spansOf(() => logInSlowly(one.app, JSON.stringify({ email, password }), async socket => {
        socket.destroy()
        await becomesTrue(() => exporter.getFinishedSpans().some(({ name }) => name === 'POST /v1/login'), 5_000)
      })).then(spans => spans.filter(({ name }) => name === 'POST /v1/login'))
      t.equal(span?.attributes['error.type'], 'aborted')
      t.equal(span?.status.code, SpanStatusCode.ERROR)
    })

    t.test('work that a request started has no span after the reply', async t => {
      let posted = 0
      const other = await startApp(t, ground, { mailer: { send: async () => { posted++; return { outcome: 'sent' } } } })
      const spans = await spansOf(async () => {
        await other.account()
        t.ok(await becomesTrue(() => posted > 0, 5_000))
      })
      const answered = ms(named(spans, 'POST /v1/register').endTime)
      t.same(spans.filter(({ startTime }) => ms(startTime) > answered).map(({ name }) => name), [])
    })

    t.test('no span carries a token, a hash, an address or a URL', async t => {
      const email = newEmail()
      let token = ''
      const spans = await spansOf(async () => {
        token = (await one.register(email)).json<{ accessToken: string }>().accessToken
        await one.login(email)
        await one.me(token)
        await one.call('GET', `/v1/me/${token}?token=${token}`, { token })
        await one.call('DELETE', '/v1/sessions/7f000001-secret', { token })
        await one.logout(token)
      })
      const values = spans.flatMap(({ name, attributes, events, status }): Array<AttributeValue | undefined> =>
        [
          name,
          status.message,
          ...Object.values(attributes),
          ...events.flatMap(event => [event.name, ...Object.values(event.attributes ?? {})])
        ])
      for (const value of values) {
        for (const secret of [
          email,
          token,
          token.slice(3, 20),
          password,
          '127.0.0.1',
          '7f000001-secret',
          'token='
        ]) t.notOk(String(value).includes(secret))
        t.notMatch(String(value), /[0-9a-f]{64}/)
      }
      t.ok(spans.length > 10)
    })
  })
})

const ms = ([seconds, nanoseconds]: [number, number]) => seconds * 1000 + nanoseconds / 1e6

/** A login whose body is sent after its head; `then` ends it. */
async function logInSlowly (app: FastifyInstance, body: string, then: (socket: Socket) => Promise<unknown>): Promise<void> {
  if (!app.server.listening) await app.listen({ host: '127.0.0.1', port: 0 })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  socket.write(
    `POST /v1/login HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body.slice(
      0,
      10
    )}`
  )
  await delay(100)
  socket.write(body.slice(10))
  socket.resume()
  await then(socket)
}
