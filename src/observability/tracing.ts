import { type Attributes, type Context, context, propagation, type Span, SpanKind, SpanStatusCode, type TracerProvider, trace } from '@opentelemetry/api'
import type { FastifyInstance } from 'fastify'
import type { Database } from '../database/database.js'
import type { Tx } from '../database/transaction.js'
import type { Revocation } from '../revocation/revocation.js'
import type { Settle } from '../revocation/settle.js'
import type { CacheAnswer, TokenCache } from '../token-cache/cache.js'
import type { TokenStore } from '../tokens/store.js'
import type { Passwords } from '../users/password.js'

/** OpenTelemetry spans around what takes its time. They say what was done and how it ended, and never to whom: no token, address, hash, id or URL. */
export type Tracing = NonNullable<ReturnType<typeof findTracing>>

/**
 * Spans for the OpenTelemetry SDK that has been registered in this process, or null where there is none: then nothing is wrapped, no hook is
 * added, and tracing costs nothing. It is asked once, so an SDK is to be loaded first: `node --import ./otel.mjs`.
 */
export function findTracing () {
  if (!hasSdk()) return null
  const tracer = trace.getTracer('latchkey')

  /** `work` in a span of its own. What belongs to no request has none, nor what a request has set going and that outlives it, or one that is not sampled. */
  async function inSpan<T> (name: string, options: { kind?: SpanKind, attributes?: Attributes }, work: (span?: Span) => Promise<T>): Promise<T> {
    if (trace.getActiveSpan()?.isRecording() !== true) return await work()
    const span = tracer.startSpan(name, options)
    try {
      return await context.with(trace.setSpan(context.active(), span), work, undefined, span)
    } catch (error) {
      if (!isRefusal(error)) fail(span, nameOf(error))
      throw error
    } finally {
      span.end()
    }
  }

  const postgres = { kind: SpanKind.CLIENT, attributes: { 'db.system.name': 'postgresql' } }

  return {
    /** A span for each request to the routes of `app` that are declared after this call, by OpenTelemetry's conventions for HTTP servers. */
    follow (app: FastifyInstance): void {
      const contexts = new WeakMap<object, Context>()
      app.addHook('onRequest', (request, reply, done) => {
        const active = context.active()
        // Where the SDK's own instrumentation has begun a server span already, this is within it.
        const within = trace.getSpan(active) !== undefined
        const parent = within ? active : propagation.extract(active, request.headers)
        const { url: route } = request.routeOptions
        const span = tracer.startSpan(route === undefined ? request.method : `${request.method} ${route}`, {
          kind: within ? SpanKind.INTERNAL : SpanKind.SERVER,
          attributes: { 'http.request.method': request.method, 'url.scheme': request.protocol, 'latchkey.request_id': request.id, ...route === undefined ? {} : { 'http.route': route } }
        }, parent)
        const own = trace.setSpan(parent, span)
        contexts.set(request, own)
        // Where the client has gone there is no reply.
        reply.raw.once('close', () => end(request, span => fail(span, 'aborted')))
        context.with(own, done)
      })
      // What reads a body was called by the socket: there the context is lost.
      app.addHook('preValidation', (request, _reply, done) => context.with(contexts.get(request) ?? context.active(), done))
      app.addHook('onResponse', (request, reply, done) => {
        end(request, span => {
          span.setAttribute('http.response.status_code', reply.statusCode)
          if (reply.statusCode >= 500) fail(span, String(reply.statusCode))
        })
        done()
      })

      function end (request: object, note: (span: Span) => void): void {
        const own = contexts.get(request)
        const span = own === undefined ? undefined : trace.getSpan(own)
        if (span === undefined || !contexts.delete(request)) return
        note(span)
        span.end()
      }
    },

    database: (real: Database): Database => ({
      ...real,
      transaction: <T>(work: (tx: Tx) => Promise<T>, limitMs?: number) => inSpan('transaction', postgres, () => real.transaction(work, limitMs))
    }),

    /** The statement of a turn of the event loop is in the trace of the first request that needs it. */
    tokenStore: (real: TokenStore): TokenStore => ({
      ...real,
      find: (hexes, now) => inSpan('SELECT tokens', { kind: SpanKind.CLIENT, attributes: { ...postgres.attributes, 'db.operation.name': 'SELECT', 'db.collection.name': 'tokens', 'latchkey.lookups': hexes.length } }, () => real.find(hexes, now))
    }),

    cache: (real: TokenCache): TokenCache => ({
      ...real,
      read: hash => inSpan('cache look-up', { kind: SpanKind.CLIENT }, async span => {
        const answer = await real.read(hash)
        span?.setAttribute('latchkey.cache.outcome', outcomeOf(answer))
        return answer
      })
    }),

    passwords: (real: Passwords): Passwords => ({
      ...real,
      hash: password => inSpan('password hash', {}, () => real.hash(password)),
      verify: (password, stored) => inSpan('password verify', {}, () => real.verify(password, stored))
    }),

    settle: (real: Settle): Settle => ({
      ...real,
      settle: committed => inSpan('settlement', { attributes: { 'latchkey.tokens': committed.hashes.length } }, () => real.settle(committed)),
      voidAll: () => inSpan('settlement', {}, real.voidAll)
    }),

    revocation: (real: Revocation): Revocation => ({
      ...real,
      revoke: work => inSpan('revocation', {}, () => real.revoke(work)),
      change: work => inSpan('revocation', {}, () => real.change(work)),
      revokeMany: work => inSpan('revocation', {}, () => real.revokeMany(work))
    })
  }
}

/** The API hands out a provider of its own, which has another behind it as soon as an SDK is registered. It may be another copy of the API's. */
function hasSdk (): boolean {
  const provider = trace.getTracerProvider() as TracerProvider & { getDelegateTracer? (name: string): unknown }
  return provider.getDelegateTracer === undefined || provider.getDelegateTracer('latchkey') !== undefined
}

function outcomeOf (answer: CacheAnswer): 'hit' | 'revoked' | 'miss' | 'bypass' {
  if (answer.verdict === 'accept') return 'hit'
  if (answer.verdict === 'refuse') return 'revoked'
  return answer.fill === null ? 'bypass' : 'miss'
}

function fail (span: Span, type: string): void {
  span.setAttribute('error.type', type)
  // Without a message: it may carry what a database has put into it.
  span.setStatus({ code: SpanStatusCode.ERROR })
}

/** What a client is told about himself is no failure of ours. */
function isRefusal (error: unknown): boolean {
  const { statusCode } = error as { statusCode?: number }
  return statusCode !== undefined && statusCode < 500
}

function nameOf (error: unknown): string {
  const { code, name } = error as { code?: unknown, name?: unknown }
  return typeof code === 'string' ? code : typeof name === 'string' ? name : 'unknown'
}
