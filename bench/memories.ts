import { randomBytes, randomUUID } from 'node:crypto'
import type { Database } from '../src/database/database.js'
import { createEntryParser } from '../src/token-cache/entry.js'
import { createTokenLookUp } from '../src/tokens/lookup-store.js'
import type { AnyPrincipal } from '../src/tokens/principal.js'
import { TokenMint } from '../src/tokens/token.js'

/**
 * What each of the memories on the way of a request saves: `npx tsx bench/memories.ts`. Processor time of one step in microseconds, with
 * 256 tokens in turn, which are remembered, and with 100,000, which are not.
 */
const [few, many] = [256, 100_000]
const steps = 400_000

async function perStep (count: number, step: (i: number) => unknown): Promise<number> {
  for (let i = 0; i < 2 * count; i++) await step(i % count)
  const before = process.cpuUsage()
  for (let i = 0; i < steps; i++) await step(i % count)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / steps
}

const mint = new TokenMint(randomBytes(32))
const tokens = Array.from({ length: many }, () => mint.issue('access'))
const hexes = tokens.map(token => token.hash().hex())
const [id, at] = [randomUUID(), new Date().toISOString()]
const end = new Date(Date.now() + 86_400_000).toISOString()
const user = { id, email: 'ada@example.com', emailVerifiedAt: at, name: 'Ada', role: 'user', createdAt: at }
const session = { id, deviceName: 'laptop', createdAt: at, expiresAt: end }
const entries = hexes.map((_, i) => JSON.stringify({
  issuedAtMs: Date.now(),
  expiresAtMs: Date.parse(end),
  amr: ['pwd'],
  acr: 'aal1',
  hasFactor: false,
  token: { id: `${id}${i}`, kind: 'access', abilities: ['*'], expiresAt: end },
  session,
  user,
  emailVerified: true
}))
const rows = hexes.map((_, i) => JSON.stringify([
  false,
  false,
  [`${id}${i}`, 'access', ['*'], at, end],
  [id, 'laptop', at, end, null, ['pwd']],
  [id, user.email, at, user.name, user.role, at, false]
]))
let asked = 0
const database = {
  prepared: async (_text: string, [, question]: unknown[]) => [{ standby: false, question, hash: hexes[asked], json: rows[asked] }]
} as unknown as Pick<Database, 'prepared'>

async function print (name: string, make: () => (i: number) => unknown): Promise<void> {
  const [seldom, often] = [await perStep(many, make()), await perStep(few, make())]
  console.log(`${name.padEnd(48)} ${often.toFixed(2).padStart(6)} remembered ${seldom.toFixed(2).padStart(6)} not`)
}

await print('tokens/token.ts: shape and keyed check', () => {
  const own = new TokenMint(randomBytes(32))
  const issued = Array.from({ length: many }, () => own.issue('access').reveal())
  return i => own.parse(issued[i] as string)
})
await print('token-cache/entry.ts: a cache entry', () => {
  const parse = createEntryParser()
  return i => parse(hexes[i] as string, entries[i] as string)
})
await print('tokens/lookup-store.ts: a row', () => {
  const { find } = createTokenLookUp(database, null)
  return i => {
    asked = i
    return find([hexes[i] as string], Date.now())
  }
})
await print('users/routes.ts: the reply of /v1/me', () => {
  const principals = entries.slice(0, few).map(entry => JSON.parse(entry) as AnyPrincipal)
  const texts = new WeakMap<object, string>()
  return i => {
    const known = principals[i % few] as AnyPrincipal
    const principal = i < few ? known : { ...known }
    const text = texts.get(principal) ?? JSON.stringify({ user: principal.user, session: principal.session, token: principal.token })
    texts.set(principal, text)
    return text
  }
})
