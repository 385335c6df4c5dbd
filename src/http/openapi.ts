import { STATUS_CODES } from 'node:http'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import { acceptsNull, withComponents, withoutNull } from './components.js'

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

const title = 'Latchkey API'

/** The groups of routes, in the order of /docs. */
const tags = [
  { name: 'sessions', description: 'Register, log in, refresh, log out; who is signed in, and on which devices' },
  { name: 'session data', description: 'What an application keeps with a session' },
  { name: 'account', description: "The caller's own account and what happened to it" },
  { name: 'second factors', description: 'Authenticator apps and recovery codes, and the second step of a login' },
  { name: 'mail', description: 'Addresses to verify and forgotten passwords; mails come in the language of Accept-Language' },
  { name: 'personal tokens', description: 'Long-lived tokens for scripts' },
  { name: 'oauth', description: 'For services and OAuth clients: introspection, revocation, refresh and metadata' },
  { name: 'forward auth', description: 'For proxies that ask before they let a request through' },
  { name: 'admin', description: 'For administrators, with the token of a session' },
  { name: 'service', description: 'What this is, and whether it is well' }
]

interface Operation {
  requestBody?: { required?: boolean, content: Record<string, { schema: Record<string, unknown> }> }
  responses: Record<string, { description: string }>
}

/** /openapi.json and /docs, made from the routes' own schemas; register it before the routes. */
export async function addOpenapi (app: FastifyInstance, publicUrl: string | undefined): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title, version: '1', description: 'A self-hosted authentication API with bearer tokens that can really be revoked.' },
      ...publicUrl === undefined ? {} : { servers: [{ url: publicUrl }] },
      tags,
      components: { securitySchemes }
    },
    hideUntagged: true,
    // A PUBLIC_URL that ends in /v1 would be cut off the paths below it.
    stripBasePath: false,
    transformObject (given) {
      if (!('openapiObject' in given)) throw new TypeError('no OpenAPI document')
      for (const path of Object.values(given.openapiObject.paths ?? {})) Object.values(path as Record<string, Operation>).forEach(complete)
      return withComponents(given.openapiObject)
    }
  })
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: contentSecurityPolicy,
    indexPrefix: '',
    logLevel: 'silent',
    theme: { title },
    // BaseLayout has no bar above the page to load other documents with.
    uiConfig: { layout: 'BaseLayout', docExpansion: 'list', defaultModelsExpandDepth: 0, displayRequestDuration: true }
  })
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
}

/** Says of an operation what @fastify/swagger doesn't: that its body may be left out, and what a status means that no schema describes. */
function complete ({ requestBody, responses }: Operation): void {
  for (const media of Object.values(requestBody?.content ?? {})) {
    if (requestBody === undefined || !acceptsNull(media.schema)) continue
    requestBody.required = false
    media.schema = withoutNull(media.schema)
  }
  for (const [status, response] of Object.entries(responses)) {
    if (response.description === 'Default Response') response.description = STATUS_CODES[status] ?? status
  }
}
