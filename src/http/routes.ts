import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import type { Health } from './health.js'
import { choice, nullable } from './schemas.js'

const Ready = Type.Object({
  status: choice(['ok', 'degraded', 'unavailable', 'stopping']),
  database: Type.Object({ status: Type.String(), roundTripMs: nullable(Type.Number()) }),
  cache: Type.Object({
    status: Type.String({ description: 'ok, unavailable or none' }),
    trusted: Type.Boolean(),
    reason: nullable(Type.String({ description: 'Why it is not trusted, or why the service is degraded although it is' })),
    roundTripMs: nullable(Type.Number())
  })
}, { title: 'Readiness' })

const ServiceInfo = Type.Object({ name: Type.String(), docs: Type.String(), openapi: Type.String(), health: Type.String() })

/** Service info and health probes. */
export const serviceRoutes: FastifyPluginAsyncTypebox<{ health: Health }> = async (app, { health }) => {
  // Anybody may ask, as often as they like: one check serves all requests of a quarter of a second.
  let latest: Promise<[number | null, number | null]> | null = null
  function look (): Promise<[number | null, number | null]> {
    if (latest === null) {
      latest = Promise.all([health.database(), health.cache()])
      setTimeout(() => { latest = null }, 250)
    }
    return latest
  }

  const config = { guard: 'anyone' as const }
  app.get('/', {
    config,
    schema: { tags: ['service'], summary: 'Name and links', operationId: 'getService', response: { 200: ServiceInfo } }
  }, async () => ({ name: 'latchkey', docs: '/docs', openapi: '/openapi.json', health: '/health/ready' }))

  app.get('/health/live', {
    config,
    schema: {
      tags: ['service'],
      summary: 'Liveness: the process answers',
      operationId: 'getLiveness',
      response: { 200: Type.Object({ status: Type.String() }) }
    }
  }, async () => ({ status: 'ok' }))

  app.get('/health/ready', {
    config,
    schema: {
      tags: ['service'],
      summary: 'Readiness: 503 when the database is down or a standby, or this server is shutting down',
      operationId: 'getReadiness',
      response: { 200: Ready, 503: Ready }
    }
  }, async (_request, reply) => {
    const [databaseMs, cacheMs] = await look()
    const state = health.cacheState()
    const trusted = state === 'trusted'
    const reason = !trusted ? state : cacheMs === null ? 'probe-failed' : null
    const healthy = !health.hasCache || reason === null
    if (databaseMs === null || health.leaving) reply.code(503).header('retry-after', '2')
    const working = healthy ? 'ok' as const : 'degraded' as const
    const standing = databaseMs === null ? 'unavailable' as const : working
    return {
      status: health.leaving ? 'stopping' as const : standing,
      database: { status: databaseMs === null ? 'unavailable' : 'ok', roundTripMs: databaseMs },
      cache: { status: !health.hasCache ? 'none' : cacheMs === null ? 'unavailable' : 'ok', trusted, reason, roundTripMs: cacheMs }
    }
  })
}
