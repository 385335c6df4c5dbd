import type { AddressInfo } from 'node:net'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import type { Config } from '../config/config.js'
import { type Credentials, credentialsOf } from '../http/credentials.js'
import { deviceOf } from '../http/device.js'
import { failures } from '../http/schemas.js'
import {
  InvalidRequestError,
  InvalidTokenError,
  MissingServiceTokenError,
  NotSupportedError,
  UnsupportedGrantTypeError
} from '../shared/errors.js'
import type { TokenService } from '../tokens/service.js'
import { challengeOf, type ErrorBody, toOauthError } from './errors.js'
import { parseForm } from './form.js'
import type { Introspection } from './introspection.js'
import { issuerOf, metadataOf } from './metadata.js'
import {
  Introspected, IntrospectForm, Introspections, IntrospectionsRequest, Metadata, Nothing, OauthTokens, oauthFailures, RevokeForm, TokenForm
} from './schemas.js'
import type { OauthService } from './service.js'

/** No form that a client sends here is longer. */
const bodyLimit = 16 * 1024

interface Options {
  oauth: OauthService
  tokens: Pick<TokenService, 'parse'>
}

/** The metadata of RFC 8414; only on a server of our own, because section 3 puts it at the root. */
export const metadataRoutes: FastifyPluginAsyncTypebox<{ config: Config }> = async (app, { config }) => {
  // RFC 8414 3.1: the well-known part goes between the host and the path of an issuer.
  const { publicUrl = '' } = config
  const path = publicUrl === '' ? '' : publicUrl.slice(new URL(publicUrl).origin.length)
  const wellKnown = '/.well-known/oauth-authorization-server'
  for (const url of new Set([wellKnown, wellKnown + path])) app.get(url, {
    config: { guard: 'anyone' },
    schema: {
      tags: ['oauth'],
      summary: 'The endpoints of OAuth (RFC 8414); needs PUBLIC_URL, or HOST on loopback',
      operationId: url === wellKnown ? 'getOauthMetadata' : 'getOauthMetadataOfIssuer',
      response: { 200: Metadata, ...failures(400) }
    }
  }, async request => {
    const issuer = issuerOf(config, (app.server.address() as AddressInfo | null)?.port ?? null, request.headers.host)
    if (issuer === null) throw new NotSupportedError('This server does not know its own URL: set PUBLIC_URL')
    return metadataOf(issuer)
  })
}

/** OAuth's endpoints: they take forms, answer JSON with the RFCs' names, and read no cookies. */
export const oauthRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { oauth, tokens }) => {
  const consumes = ['application/x-www-form-urlencoded']
  const anyCaller = [{}, { basic: [] }, { bearer: [] }]

  app.removeAllContentTypeParsers()
  app.addContentTypeParser(consumes, { parseAs: 'buffer', bodyLimit }, async (_request: FastifyRequest, body: Buffer) => parseForm(body))

  app.addHook('preSerialization', async ({ headers }, reply, payload) => {
    if (reply.statusCode < 400) return payload
    const scheme = credentialsOf(headers.authorization)?.scheme ?? null
    const challenge = challengeOf(payload as ErrorBody, scheme)
    if (challenge !== null) reply.header('www-authenticate', challenge)
    return toOauthError(payload as ErrorBody, scheme)
  })

  app.post('/oauth/introspect', {
    config: { guard: 'client' },
    onRequest: async request => { requirePresented(request, tokens) },
    schema: {
      tags: ['oauth'],
      summary: 'What a token stands for, for services (RFC 7662)',
      operationId: 'introspectToken',
      security: [{ basic: [] }, { bearer: [] }],
      consumes,
      body: IntrospectForm,
      response: { 200: Introspected, ...oauthFailures(400, 401, 403, 413, 415, 503) }
    }
  }, async request => {
    refuseSecrets(request)
    const [introspected] = await oauth.introspect(requirePresented(request, tokens).token, [request.body.token])
    return introspected as Introspection
  })

  app.post('/oauth/revoke', {
    config: { guard: 'client', limitByAddress: request => request.headers.authorization === undefined },
    onRequest: async request => { if (request.headers.authorization !== undefined) requirePresented(request, tokens) },
    schema: {
      tags: ['oauth'],
      summary: 'Revoke a token; a token of a session ends its session (RFC 7009)',
      operationId: 'revokeToken',
      security: anyCaller,
      consumes,
      body: RevokeForm,
      response: { 200: Nothing, ...oauthFailures(400, 401, 413, 415, 429, 503) }
    }
  }, async (request, reply) => {
    refuseSecrets(request)
    const caller = request.headers.authorization === undefined ? null : await oauth.requireCaller(requirePresented(request, tokens).token)
    await oauth.revoke(request.body.token, { device: deviceOf(request), caller })
    return await reply.send('')
  })

  app.post('/oauth/token', {
    config: { guard: 'client', limitByAddress: true },
    schema: {
      tags: ['oauth'],
      summary: 'Exchange a refresh token (RFC 6749 6)',
      operationId: 'exchangeToken',
      security: [{}, { basic: [] }],
      consumes,
      body: TokenForm,
      response: { 200: OauthTokens, ...oauthFailures(400, 401, 413, 415, 429, 503) }
    }
  }, async request => {
    refuseSecrets(request)
    // Only Basic authenticates a client here: an access token that came along has often expired, which is why the client refreshes.
    const client = credentialsOf(request.headers.authorization)
    if (client?.scheme === 'basic') await oauth.requireCaller(requirePresented(request, tokens).token)
    const { grant_type: grantType, refresh_token: refreshToken, scope } = request.body
    if (grantType !== 'refresh_token') throw new UnsupportedGrantTypeError()
    if (refreshToken === undefined) throw new InvalidRequestError('The refresh_token is missing', 'refresh_token', 'missing')
    const { access, refresh, abilities } = await oauth.refresh(refreshToken, scope, deviceOf(request))
    return {
      access_token: access.plain.reveal(),
      token_type: 'Bearer' as const,
      expires_in: access.expiresInSeconds,
      ...refresh === null ? {} : { refresh_token: refresh.plain.reveal() },
      // RFC 6749 3.3: a scope is never empty.
      ...abilities.length === 0 ? {} : { scope: abilities.join(' ') }
    }
  })

}

/** The same check of many tokens in one request, in JSON and with the errors of /v1. */
export const introspectionsRoute: FastifyPluginAsyncTypebox<Options> = async (app, { oauth, tokens }) => {
  app.post('/v1/introspections', {
    config: { guard: 'client' },
    onRequest: async request => { requirePresented(request, tokens) },
    schema: {
      tags: ['oauth'],
      summary: 'What up to 100 tokens stand for, for services',
      operationId: 'introspectTokens',
      security: [{ basic: [] }, { bearer: [] }],
      body: IntrospectionsRequest,
      response: { 200: Introspections, ...failures(400, 401, 403, 413, 415, 503) }
    }
  }, async request => ({ results: await oauth.introspect(requirePresented(request, tokens).token, request.body.tokens) }))
}

/** The caller's credentials, checked without I/O. Throws MissingServiceTokenError and InvalidTokenError. */
function requirePresented ({ headers }: FastifyRequest, tokens: Pick<TokenService, 'parse'>): Credentials {
  const credentials = credentialsOf(headers.authorization)
  if (credentials === null) throw new MissingServiceTokenError()
  if (tokens.parse(credentials.token) === null) throw new InvalidTokenError()
  return credentials
}

/** RFC 6749 2.3: secrets in the body don't authenticate here; beside a header they would be a second way, which is forbidden. */
function refuseSecrets ({ body, headers }: FastifyRequest<{ Body?: unknown }>): void {
  const given = body as { client_secret?: string, client_assertion?: string }
  if (given.client_secret === undefined && given.client_assertion === undefined) return
  if (headers.authorization === undefined) throw new MissingServiceTokenError()
  throw new InvalidRequestError('One way to authenticate at a time', 'client_secret', 'not_allowed')
}
