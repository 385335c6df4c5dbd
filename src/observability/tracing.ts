import type { Attributes, Context, Span, TracerProvider } from '@opentelemetry/api'
import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import type { FastifyInstance } from 'fastify'
import type { Database } from '../database/database.js'
import type { Tx } from '../database/transaction.js'
import type { Revocation } from '../revocation/revocation.js'
import type { Settle } from '../revocation/settle.js'
import type { Cache, CacheAnswer } from '../token-cache/cache.js'
import type { Cacheable } from '../token-cache/found.js'
import type { TokenStore } from '../tokens/store.js'
import type { Passwords } from '../users/password.js'

interface SpanOptions { kind?: SpanKind, attributes?: Attributes }

/**
 * OpenTelemetry spans around what takes time. They tell what was done and how it ended, not for whom: no token, address, hash, id or
 * URL.
 */
export interface Tracing {
  /** A span for each request to the routes of `app` that are declared after this call, by OpenTelemetry's conventions for HTTP servers. */
  follow (app: FastifyInstance): void
  database (real: Database): Database
  tokenStore (real: TokenStore): TokenStore
  cache<Value extends Cacheable> (real: Cache<Value>): Cache<Value>
  passwords (real: Passwords): Passwords
  settle (real: Settle): Settle
  revocation (real: Revocation): Revocation
}

/**
 * Spans for the OpenTelemetry SDK that is registered in this process; null where there is none, so that tracing then costs nothing. It is
 * looked for once: load the SDK first, with `node --import ./otel.mjs`.
 */
export function findTracing (): Tracing | null {
  if (!hasSdk()) return null
  const tracer = trace.getTracer('latchkey')

  /** Runs `work` in a span of its own. There is none outside a request, after its end, or where the request is not sampled. */
  async function inSpan<T> (name: string, options: SpanOptions, work: (span?: Span) => Promise<T>): Promise<T> {
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
    follow (app: FastifyInstance): void {
      const contexts = new WeakMap<object, Context>()
      app.addHook('onRequest', (request, reply, done) => {
        const active = context.active()
        // The SDK's own HTTP instrumentation may have begun a server span already.
        const within = trace.getSpan(active) !== undefined
        const parent = within ? active : propagation.extract(active, request.headers)
        const { url: route } = request.routeOptions
        const span = tracer.startSpan(route === undefined ? request.method : `${request.method} ${route}`, {
          kind: within ? SpanKind.INTERNAL : SpanKind.SERVER,
          attributes: {
            'http.request.method': request.method,
            'url.scheme': request.protocol,
            'latchkey.request_id': request.id,
            ...route === undefined ? {} : { 'http.route': route }
          }
        }, parent)
        const own = trace.setSpan(parent, span)
        contexts.set(request, own)
        // A client that has gone gets no reply, so onResponse doesn't run.
        reply.raw.once('close', () => end(request, span => fail(span, 'aborted')))
        context.with(own, done)
      })
      // The body is read in callbacks of the socket, where the context is lost.
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
      transaction <T> (work: (tx: Tx) => Promise<T>, limitMs?: number) {
        return inSpan('transaction', postgres, () => real.transaction(work, limitMs))
      }
    }),

    /** One statement serves all requests of an event-loop turn; it appears in the trace of the first of them. */
    tokenStore: (real: TokenStore): TokenStore => ({
      ...real,
      find (hexes, now) {
        const select = { 'db.operation.name': 'SELECT', 'db.collection.name': 'tokens', 'latchkey.lookups': hexes.length }
        const attributes = { ...postgres.attributes, ...select }
        return inSpan('SELECT tokens', { kind: SpanKind.CLIENT, attributes }, () => real.find(hexes, now))
      }
    }),

    cache: <Value extends Cacheable>(real: Cache<Value>): Cache<Value> => ({
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
      settle (committed) {
        return inSpan('settlement', { attributes: { 'latchkey.tokens': committed.hashes.length } }, () => real.settle(committed))
      },
      voidAll: () => inSpan('settlement', {}, real.voidAll)
    }),

    revocation: (real: Revocation): Revocation => ({
      ...real,
      revoke: (work, turn) => inSpan('revocation', {}, () => real.revoke(work, turn)),
      change: (work, turn) => inSpan('revocation', {}, () => real.change(work, turn)),
      revokeMany: work => inSpan('revocation', {}, () => real.revokeMany(work))
    })
  }
}

/** The API's own provider delegates to another once an SDK is registered. The SDK may also have registered with another copy of the API. */
function hasSdk (): boolean {
  const provider = trace.getTracerProvider() as TracerProvider & { getDelegateTracer? (name: string): unknown }
  return provider.getDelegateTracer === undefined || provider.getDelegateTracer('latchkey') !== undefined
}

function outcomeOf<Value extends Cacheable> (answer: CacheAnswer<Value>): 'hit' | 'revoked' | 'miss' | 'bypass' {
  if (answer.verdict === 'accept') return 'hit'
  if (answer.verdict === 'refuse') return 'revoked'
  return answer.fill === null ? 'bypass' : 'miss'
}

function fail (span: Span, type: string): void {
  span.setAttribute('error.type', type)
  // No message: it may carry what a database has put into it.
  span.setStatus({ code: SpanStatusCode.ERROR })
}

/** A 4xx is the client's error, and no failure of the server. */
function isRefusal (error: unknown): boolean {
  const { statusCode } = error as { statusCode?: number }
  return statusCode !== undefined && statusCode < 500
}

function nameOf (error: unknown): string {
  const { code, name } = error as { code?: unknown, name?: unknown }
  return typeof code === 'string' ? code : typeof name === 'string' ? name : 'unknown'
}
