// Shared by the peers: settings from the environment; credentials go to the parent once the server is ready.

/** The number of clients that take turns. */
export const clients = Number(process.env.CLIENTS ?? 256)
export const redisUrl = process.env.REDIS_URL ?? ''
export const databaseUrl = process.env.DATABASE_URL ?? ''
/** Signing key of this run only. */
export const secret = 'a secret of this benchmark alone, longer than 32 characters'

/** A user as Latchkey returns one, so that replies have the same size. */
export const userOf = number => ({
  id: `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`,
  email: `peer-${number}@example.com`,
  emailVerifiedAt: null,
  name: 'Ada Lovelace',
  role: 'user',
  createdAt: '2026-01-01T00:00:00.000Z'
})

export const everyUser = Array.from({ length: clients }, (_, number) => userOf(number))

/** Sends the parent the URL and each client's header. */
export function ready (port, path, headers) {
  process.send({ url: `http://127.0.0.1:${port}${path}`, headers })
  process.once('SIGTERM', () => process.exit(0))
}

/** Logs every user in over HTTP and returns their `Cookie:` headers. */
export async function cookiesBy (port, path) {
  const headers = []
  for (const { email } of everyUser) {
    const reply = await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ email }) })
    if (!reply.ok) throw new Error(`${path} answered ${reply.status} ${await reply.text()}`)
    headers.push(`Cookie: ${reply.headers.getSetCookie().map(cookie => cookie.split(';', 1)[0]).join('; ')}`)
  }
  return headers
}
