// express-session with connect-redis, as both recommend: resave and saveUninitialized off.
import { RedisStore } from 'connect-redis'
import express from 'express'
import session from 'express-session'
import { createClient } from 'redis'
import { cookiesBy, everyUser, ready, redisUrl, secret } from './serve.mjs'

const client = await createClient({ url: redisUrl }).connect()
const app = express()
app.use(session({ secret, store: new RedisStore({ client, prefix: 'express:' }), resave: false, saveUninitialized: false, cookie: { secure: false, maxAge: 86_400_000 } }))
app.post('/login', express.json(), (request, response, next) => {
  request.session.regenerate(error => {
    if (error) return next(error)
    request.session.user = everyUser.find(({ email }) => email === request.body.email)
    return response.json({})
  })
})
app.get('/me', (request, response) => {
  const { user } = request.session
  if (user === undefined) return response.status(401).json({})
  return response.json({ user })
})
const server = app.listen(0, '127.0.0.1', async () => {
  const { port } = server.address()
  ready(port, '/me', await cookiesBy(port, '/login'))
})
