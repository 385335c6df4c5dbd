import { setTimeout as delay } from 'node:timers/promises'
import { createClient } from './client.js'
import { password, type Seeded } from './latchkey.js'
import { median, quantile } from './statistics.js'

/** More than any server has cores, so that bcrypt is never idle. */
const loggingIn = 8

/** Logs `people` in again and again until `stopped` returns true; reports each success. */
async function logInUntil (stopped: () => boolean, base: string, people: readonly Seeded[], done: () => void): Promise<void> {
  const client = createClient(base, loggingIn)
  let next = 0
  await Promise.all(Array.from({ length: loggingIn }, async () => {
    while (!stopped()) {
      const { email } = people[next++ % people.length] as Seeded
      await client.expect(200, 'POST', '/v1/login', { body: { email, password } })
      done()
    }
  }))
  client.close()
}

/** Runs `work` while logins saturate bcrypt. */
export async function whileLoggingIn<T> (base: string, people: readonly Seeded[], work: () => Promise<T>): Promise<T> {
  let over = false
  const flood = logInUntil(() => over, base, people, () => {})
  // A failed login is thrown after the measurement, and so makes it void.
  flood.catch(() => {})
  await delay(500)
  try {
    return await work()
  } finally {
    over = true
    await flood
  }
}

/** Logins per second between the first and the last completed one, without those still in progress at either end. */
export async function measureLogins (base: string, people: readonly Seeded[], seconds: number): Promise<number> {
  const times: number[] = []
  const until = performance.now() + seconds * 1000
  await logInUntil(() => performance.now() > until, base, people, () => times.push(performance.now()))
  // Near the end fewer logins are in progress than bcrypt can run.
  const full = times.slice(0, times.length - loggingIn + 1)
  if (full.length < 3) throw new Error('too few logins in that time: raise --seconds')
  return (full.length - 1) / ((full.at(-1) as number) - (full[0] as number)) * 1000
}

/** The median time of logouts, one after another, each of a cached token. */
export async function measureLogouts (base: string, callers: readonly Seeded[]): Promise<number> {
  const client = createClient(base, 1)
  for (const { token } of callers) await client.expect(200, 'GET', '/v1/me', { token })
  const times: number[] = []
  for (const { token } of callers) times.push((await client.expect(204, 'POST', '/v1/logout', { token })).ms)
  client.close()
  return median(times)
}

/** p99 in milliseconds at `rate` requests per second, each timed from when it was due, so that waiting behind a late request counts. */
export async function measurePaced (
  client: ReturnType<typeof createClient>,
  tokens: readonly string[],
  rate: number,
  seconds: number
): Promise<number> {
  const times: number[] = []
  const underWay: Array<Promise<void>> = []
  const startedAt = performance.now()
  for (let sent = 0; sent < rate * seconds;) {
    const now = performance.now()
    for (; sent < rate * seconds && startedAt + sent / rate * 1000 <= now; sent++) {
      const dueAt = startedAt + sent / rate * 1000
      underWay.push(client.expect(
        200,
        'GET',
        '/v1/me',
        { token: tokens[sent % tokens.length] as string }
      ).then(() => { times.push(performance.now() - dueAt) }))
    }
    await delay(1)
  }
  await Promise.all(underWay)
  return quantile(times, 0.99)
}
