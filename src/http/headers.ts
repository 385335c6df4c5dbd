import type { FastifyInstance } from 'fastify'

/**
 * On every reply of our own server, as helmet would set them; they never change, so no middleware works them out for each request. /docs
 * replaces the content security policy by one under which its page works.
 */
export const commonHeaders = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none';frame-ancestors 'none'",
  'strict-transport-security': 'max-age=31536000; includeSubDomains',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY'
}

/** Puts the common headers on every reply of `app`. */
export function addCommonHeaders (app: FastifyInstance): void {
  app.addHook('onRequest', (_request, reply, done) => {
    reply.headers(commonHeaders)
    done()
  })
}

/** Puts the headers on the replies of a mounted scope; those that the application has set for itself stay. */
export function addMountedHeaders (scope: FastifyInstance): void {
  // No includeSubDomains: only the application knows whether its other hosts speak https.
  const defaults = { 'strict-transport-security': 'max-age=31536000', 'x-content-type-options': 'nosniff' }
  scope.addHook('onRequest', (_request, reply, done) => {
    reply.header('cache-control', 'no-store')
    for (const [name, value] of Object.entries(defaults)) if (!reply.hasHeader(name)) reply.header(name, value)
    done()
  })
}

/**
 * Sends `connection: close` with every reply while the server is closing: a kept connection would delay the close, and lose the
 * request that its client sends at that moment.
 */
export function closeConnectionsOnLeave (app: FastifyInstance, health: { readonly leaving: boolean, leave (): void }): void {
  app.addHook('preClose', async () => health.leave())
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (health.leaving) reply.header('connection', 'close')
    done()
  })
}
