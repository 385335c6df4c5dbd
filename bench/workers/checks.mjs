// Checks tokens in one process, 64 at once, for as long as the parent asks, and reports checks per second. KIND says by what:
// direct, remote (latchkey/verifier), introspection (openid-client, one request a token), jose-RS256, jose-ES256, fast-jwt (HS256, no cache).
import { readFileSync } from 'node:fs'

const atOnce = 64
const { KIND: kind, TOKENS: tokensFile, DATABASE_URL: databaseUrl, REDIS_URL: redisUrl, URL: url, SERVICE: service } = process.env
const secret = 'a secret of this benchmark alone, longer than 32 characters'
const claims = number => ({ sub: `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`, email: `peer-${number}@example.com`, name: 'Ada Lovelace', role: 'user' })
const numbers = Array.from({ length: 512 }, (_, number) => number)

async function jose (algorithm) {
  const { generateKeyPair, jwtVerify, SignJWT } = await import('jose')
  const { publicKey, privateKey } = await generateKeyPair(algorithm)
  const sign = number => new SignJWT(claims(number)).setProtectedHeader({ alg: algorithm }).setIssuedAt().setExpirationTime('1d').sign(privateKey)
  return { tokens: await Promise.all(numbers.map(sign)), check: token => jwtVerify(token, publicKey, { algorithms: [algorithm] }) }
}

async function fastJwt () {
  const { createSigner, createVerifier } = await import('fast-jwt')
  const sign = createSigner({ key: secret, algorithm: 'HS256', expiresIn: 86_400_000 })
  const verify = createVerifier({ key: secret, algorithms: ['HS256'], cache: false })
  return { tokens: numbers.map(number => sign(claims(number))), check: async token => verify(token) }
}

async function latchkey (options) {
  const { createVerifier } = await import('../../dist/src/verifier/index.js')
  const verifier = createVerifier(options)
  await verifier.ready()
  return { tokens: JSON.parse(readFileSync(tokensFile, 'utf8')), check: token => verifier.verify(token), stats: () => verifier.stats() }
}

async function introspection () {
  const { allowInsecureRequests, ClientSecretBasic, Configuration, tokenIntrospection } = await import('openid-client')
  const server = { issuer: url, introspection_endpoint: `${url}/oauth/introspect` }
  const config = new Configuration(server, 'bench', undefined, ClientSecretBasic(service))
  allowInsecureRequests(config)
  const check = async token => (await tokenIntrospection(config, token)).active ? token : null
  return { tokens: JSON.parse(readFileSync(tokensFile, 'utf8')), check }
}

const makers = {
  direct: () => latchkey({ databaseUrl, redisUrl, cacheTtl: '12h' }),
  remote: () => latchkey({ url, token: service }),
  introspection,
  'jose-RS256': () => jose('RS256'),
  'jose-ES256': () => jose('ES256'),
  'fast-jwt': fastJwt
}

const { tokens, check, stats } = await makers[kind]()

/** Checks `count` tokens in turn, or as many as fit into the time. Every answer has to be yes. */
async function run (isOver) {
  let next = 0
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (!isOver(next)) if (await check(tokens[next++ % tokens.length]) === null) throw new Error('a live token was refused')
  }))
  return next
}

// A reader is trusted 1.5 s after its first poll; then each token is looked up once, and is in the cache.
if (kind === 'direct') await new Promise(resolve => setTimeout(resolve, 2_500))
await run(done => done >= tokens.length)
process.send('ready')
process.on('message', async seconds => {
  const [startedAt, before] = [performance.now(), stats?.()]
  const done = await run(() => performance.now() - startedAt > seconds * 1000)
  const after = stats?.()
  if (kind === 'direct' && after.hits - before.hits < 0.99 * done) throw new Error(`of ${done} checks only ${after.hits - before.hits} were answered by the cache`)
  process.send(done / (performance.now() - startedAt) * 1000)
})
process.once('SIGTERM', () => process.exit(0))
