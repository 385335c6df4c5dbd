// @fastify/session with connect-redis. Not rolling: reading a session writes nothing.
import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import { RedisStore } from 'connect-redis'
import fastify from 'fastify'
import { createClient } from 'redis'
import { cookiesBy, everyUser, ready, redisUrl, secret } from './serve.mjs'

const client = await createClient({ url: redisUrl }).connect()
const app = fastify()
await app.register(fastifyCookie)
await app.register(fastifySession, { secret, store: new RedisStore({ client, prefix: 'fastify:' }), saveUninitialized: false, rolling: false, cookie: { secure: false, maxAge: 86_400_000 } })
app.post('/login', async request => {
  await request.session.regenerate()
  request.session.user = everyUser.find(({ email }) => email === request.body.email)
  return {}
})
app.get('/me', async (request, reply) => {
  const { user } = request.session
  if (user === undefined) return await reply.code(401).send({})
  return { user }
})
await app.listen({ host: '127.0.0.1', port: 0 })
const { port } = app.server.address()
ready(port, '/me', await cookiesBy(port, '/login'))
