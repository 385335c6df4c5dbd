import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'

/** /docs loads nothing from elsewhere. No upgrade-insecure-requests: in development it is served over http. */
const contentSecurityPolicy = [
  "default-src 'self'", "base-uri 'self'", "font-src 'self' data:", "form-action 'self'", "frame-ancestors 'self'",
  "img-src 'self' data:", "object-src 'none'"
].join('; ')

/** The schemes that the routes' `security` refers to; an application that mounts Latchkey adds them to its own OpenAPI description. */
export const securitySchemes = {
  bearer: { type: 'http', scheme: 'bearer' },
  basic: { type: 'http', scheme: 'basic' },
  cookie: { type: 'apiKey', in: 'cookie', name: '__Host-latchkey' }
} as const

/** /openapi.json and /docs, made from the routes' own schemas; register it before the routes. */
export async function addOpenapi (app: FastifyInstance, publicUrl: string | undefined): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Latchkey',
        version: '1',
        description: 'A self-hosted authentication API with bearer tokens that can really be revoked.'
      },
      ...publicUrl === undefined ? {} : { servers: [{ url: publicUrl.replace(/\/+$/, '') }] },
      components: { securitySchemes }
    },
    hideUntagged: true
  })
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: contentSecurityPolicy, indexPrefix: '', logLevel: 'silent' })
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
}
