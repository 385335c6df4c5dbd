// Plain Fastify: the denominators. DEFERRED awaits one setImmediate, so that replies of one event-loop turn are sent together.
import { setImmediate as turn } from 'node:timers/promises'
import fastify from 'fastify'
import { ready } from './serve.mjs'

const reply = JSON.parse(process.env.REPLY ?? '{}')
const app = fastify()
if (process.env.DEFERRED === 'yes') {
  app.get('/me', async () => {
    await turn()
    return reply
  })
} else app.get('/me', async () => reply)
await app.listen({ host: '127.0.0.1', port: 0 })
ready(app.server.address().port, '/me', ['Accept: */*'])
