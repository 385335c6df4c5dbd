// What the peers have in common: settings in the environment, credentials sent to the parent when all is ready.

/** As many clients take turns. */
export const clients = Number(process.env.CLIENTS ?? 256)
export const redisUrl = process.env.REDIS_URL ?? ''
export const databaseUrl = process.env.DATABASE_URL ?? ''
/** For signatures; nobody but this run uses it. */
export const secret = 'a secret of this benchmark alone, longer than 32 characters'

/** A user as Latchkey shows one, so that replies are of like size. */
export const userOf = number => ({
  id: `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`,
  email: `peer-${number}@example.com`,
  emailVerifiedAt: null,
  name: 'Ada Lovelace',
  role: 'user',
  createdAt: '2026-01-01T00:00:00.000Z'
})

export const everyUser = Array.from({ length: clients }, (_, number) => userOf(number))

/** Tells the parent where to go, and with which header each client comes. */
export function ready (port, path, headers) {
  process.send({ url: `http://127.0.0.1:${port}${path}`, headers })
  process.once('SIGTERM', () => process.exit(0))
}

/** Logs every user in over HTTP and returns his `Cookie:` header. */
export async function cookiesBy (port, path) {
  const headers = []
  for (const { email } of everyUser) {
    const reply = await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ email }) })
    if (!reply.ok) throw new Error(`${path} answered ${reply.status} ${await reply.text()}`)
    headers.push(`Cookie: ${reply.headers.getSetCookie().map(cookie => cookie.split(';', 1)[0]).join('; ')}`)
  }
  return headers
}
