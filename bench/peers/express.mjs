// Express 5 with one route. CHECK: none, `latchkey` (latchkey/verifier, direct) or `jose` (RS256).
import express from 'express'
import { generateKeyPair, jwtVerify, SignJWT } from 'jose'
import { databaseUrl, everyUser, ready, redisUrl } from './serve.mjs'

const { CHECK: check = 'none', TOKENS: given = '[]' } = process.env
const app = express()
let tokens = JSON.parse(given)

async function guard () {
  if (check === 'latchkey') {
    const { createVerifier } = await import('../../dist/src/verifier/index.js')
    const verifier = createVerifier({ databaseUrl, redisUrl })
    await verifier.ready()
    return verifier.requireAbility()
  }
  const { publicKey, privateKey } = await generateKeyPair('RS256')
  const sign = user => new SignJWT(user).setProtectedHeader({ alg: 'RS256' }).setExpirationTime('1d').sign(privateKey)
  tokens = await Promise.all(everyUser.map(sign))
  return (req, res, next) => jwtVerify(req.headers.authorization?.slice(7) ?? '', publicKey, { algorithms: ['RS256'] })
    .then(({ payload }) => { req.auth = payload; next() }, () => res.status(401).json({ error: 'Unauthorized' }))
}

if (check !== 'none') app.use(await guard())
// The same reply with and without a check: what is measured is the check.
app.get('/me', (req, res) => { res.json({ user: everyUser[0], checked: req.auth !== undefined }) })
const server = app.listen(0, '127.0.0.1', () => ready(server.address().port, '/me', tokens.map(token => `Authorization: Bearer ${token}`)))
