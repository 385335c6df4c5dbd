// @fastify/jwt as documented: HS256, verified in an onRequest hook. CHECK looks the token's id up in Redis, through the `trusted` option, so that it
// can be revoked: "plain" sends each command alone, "pipelined" uses ioredis' auto-pipelining. CACHE keeps verified tokens, which can't be revoked.
import fastifyJwt from '@fastify/jwt'
import fastify from 'fastify'
import { Redis } from 'ioredis'
import { everyUser, ready, redisUrl, secret } from './serve.mjs'

const { CHECK: check, CACHE: cache } = process.env
const redis = check === undefined ? null : new Redis(redisUrl, { enableAutoPipelining: check === 'pipelined' })
const app = fastify()
await app.register(fastifyJwt, {
  secret,
  sign: { expiresIn: '1d' },
  ...cache === undefined ? {} : { verify: { cache: true } },
  ...redis === null ? {} : { trusted: async (_request, { jti }) => await redis.get(`revoked:${jti}`) === null }
})
app.get('/me', { onRequest: async request => { await request.jwtVerify() } }, async request => ({ user: request.user }))
await app.listen({ host: '127.0.0.1', port: 0 })
ready(app.server.address().port, '/me', everyUser.map(user => `Authorization: Bearer ${app.jwt.sign(user, { jti: user.id })}`))
