/** Everything measured, by its name in the report and for --only. */
export type ContenderName =
  | 'bare' | 'deferred' | 'latchkey' | 'many' | 'redis-dead' | 'embedded' | 'made-up'
  | 'jwt' | 'jwt-redis' | 'jwt-redis-pipelined' | 'jwt-cached' | 'fastify-session' | 'express-session' | 'better-auth-redis' | 'better-auth-database' | 'oidc-provider'
  | 'idle-p99' | 'busy-p99' | 'paced-idle-p99' | 'paced-busy-p99' | 'logins' | 'bcrypt' | 'logins-all-cores' | 'bcrypt-all-cores' | 'logout' | 'transaction'
  | 'nginx-alone' | 'nginx-forward-auth'
  | 'verify' | 'verify-many' | 'jose-rs256' | 'jose-es256' | 'fast-jwt' | 'verify-by-url' | 'introspection' | 'express' | 'express-verify' | 'express-jose'

/** A bound on the ratio of `of` to the largest of `against`. */
export interface Goal {
  name: string
  work: string
  of: ContenderName
  against: readonly ContenderName[]
  bound: 'at least' | 'at most'
  times: number
}

/** Peers in the case they are made for; without jwt-cached, which can't log anybody out. */
export const peers = [
  'jwt',
  'jwt-redis',
  'jwt-redis-pipelined',
  'fastify-session',
  'express-session',
  'better-auth-redis',
  'better-auth-database',
  'oidc-provider'
] as const

export const goals: readonly Goal[] = [
  { name: 'me', work: 'GET /v1/me, cache hit: of bare Fastify', of: 'latchkey', against: ['bare'], bound: 'at least', times: 0.95 },
  { name: 'me', work: 'GET /v1/me, cache hit: of @fastify/jwt', of: 'latchkey', against: ['jwt'], bound: 'at least', times: 2.5 },
  {
    name: 'me',
    work: 'GET /v1/me, cache hit: of Better Auth with Redis',
    of: 'latchkey',
    against: ['better-auth-redis'],
    bound: 'at least',
    times: 18
  },
  {
    name: 'redis-dead',
    work: 'the same while Redis is dead: of bare Fastify',
    of: 'redis-dead',
    against: ['bare'],
    bound: 'at least',
    times: 0.5
  },
  {
    name: 'redis-dead',
    work: "the same while Redis is dead: of the best peer's normal case",
    of: 'redis-dead',
    against: peers,
    bound: 'at least',
    times: 1
  },
  {
    name: 'embedded',
    work: 'the same in embedded mode: of bare Fastify',
    of: 'embedded',
    against: ['bare'],
    bound: 'at least',
    times: 1.2
  },
  { name: 'made-up', work: 'refusing a made-up token: of bare Fastify', of: 'made-up', against: ['bare'], bound: 'at least', times: 1 },
  {
    name: 'busy',
    work: 'p99 of GET /v1/me under full load while logins saturate bcrypt: of its idle p99',
    of: 'busy-p99',
    against: ['idle-p99'],
    bound: 'at most',
    times: 5
  },
  {
    name: 'busy',
    work: 'the same at 1,000 requests a second',
    of: 'paced-busy-p99',
    against: ['paced-idle-p99'],
    bound: 'at most',
    times: 5
  },
  {
    name: 'logins',
    work: 'logins, server on one core: of bcrypt alone on that core',
    of: 'logins',
    against: ['bcrypt'],
    bound: 'at least',
    times: 0.95
  },
  {
    name: 'logins',
    work: 'logins, server on two cores: of bcrypt alone on these',
    of: 'logins-all-cores',
    against: ['bcrypt-all-cores'],
    bound: 'at least',
    times: 0.95
  },
  {
    name: 'logout',
    work: 'logout with healthy Redis: of its transaction alone',
    of: 'logout',
    against: ['transaction'],
    bound: 'at most',
    times: 2.5
  },
  {
    name: 'forward-auth',
    work: 'forward auth behind nginx: of nginx to the application alone',
    of: 'nginx-forward-auth',
    against: ['nginx-alone'],
    bound: 'at least',
    times: 0.5
  },
  { name: 'verify', work: 'a cached check by latchkey/verifier: of jose, RS256', of: 'verify', against: ['jose-rs256'], bound: 'at least', times: 8 },
  { name: 'verify', work: 'the same: of jose, ES256', of: 'verify', against: ['jose-es256'], bound: 'at least', times: 12 },
  { name: 'verify', work: 'the same: of fast-jwt, HS256, without its cache', of: 'verify', against: ['fast-jwt'], bound: 'at least', times: 2 },
  { name: 'verify', work: 'the same with 100,000 tokens in turn: of 512', of: 'verify-many', against: ['verify'], bound: 'at least', times: 0.67 },
  {
    name: 'verify-by-url',
    work: 'a check by URL, 64 at once: of single introspections by openid-client',
    of: 'verify-by-url',
    against: ['introspection'],
    bound: 'at least',
    times: 5
  },
  {
    name: 'express',
    work: 'Express 5 with latchkey/verifier: of Express without a check',
    of: 'express-verify',
    against: ['express'],
    bound: 'at least',
    times: 0.85
  }
]

/** Resident memory in the last fifth of the run relative to the second fifth: 10,000 connections, a million tokens in the cache. */
export const memoryGrowsAtMost = 1.05

/** Costs at each size relative to the smallest. */
export const growthAtMost = 1.3

/** p99 of live requests during a prune relative to before. */
export const pruneSlowsAtMost = 2
