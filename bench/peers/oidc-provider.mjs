// oidc-provider's userinfo with opaque access tokens; its models are in Redis, one JSON value each.
import { Redis } from 'ioredis'
import { Provider } from 'oidc-provider'
import { everyUser, ready, redisUrl, secret } from './serve.mjs'

const redis = new Redis(redisUrl, { keyPrefix: 'oidc:' })

/** The part of the adapter interface that userinfo uses. */
class RedisAdapter {
  constructor (model) { this.model = model }
  async upsert (id, payload, expiresIn) { await redis.set(`${this.model}:${id}`, JSON.stringify(payload), ...expiresIn === undefined ? [] : ['EX', expiresIn]) }
  async find (id) {
    const found = await redis.get(`${this.model}:${id}`)
    return found === null ? undefined : JSON.parse(found)
  }

  async destroy (id) { await redis.del(`${this.model}:${id}`) }
}

const port = Number(process.env.PORT)
const users = new Map(everyUser.map(user => [user.id, user]))
const provider = new Provider(`http://127.0.0.1:${port}`, {
  adapter: RedisAdapter,
  clients: [{ client_id: 'bench', client_secret: secret, redirect_uris: ['https://bench.example/callback'] }],
  cookies: { keys: [secret] },
  claims: { openid: ['sub'], email: ['email'], profile: ['name', 'role', 'createdAt'] },
  scopes: ['openid', 'email', 'profile'],
  features: { devInteractions: { enabled: false }, userinfo: { enabled: true } },
  interactions: { url: () => '/' },
  ttl: { AccessToken: 86_400, Grant: 86_400 },
  findAccount: (_context, id) => ({ accountId: id, claims: async () => ({ sub: id, ...users.get(id) }) })
})
const client = await provider.Client.find('bench')
const headers = []
for (const { id } of everyUser) {
  const grant = new provider.Grant({ accountId: id, clientId: 'bench' })
  grant.addOIDCScope('openid email profile')
  const token = new provider.AccessToken({ accountId: id, client, grantId: await grant.save(), scope: 'openid email profile', gty: 'authorization_code' })
  headers.push(`Authorization: Bearer ${await token.save()}`)
}
provider.listen(port, '127.0.0.1', () => ready(port, '/me', headers))
