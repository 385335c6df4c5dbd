import { setTimeout as delay } from 'node:timers/promises'
import { createClient } from './client.js'
import { password, type Seeded } from './latchkey.js'
import { median, quantile } from './statistics.js'

/** More than any server has cores: bcrypt is never without work. */
const loggingIn = 8

/** Logs `people` in again and again until `stopped` says so; tells each success. */
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

/** Runs `work` while bcrypt has more to do than it can. */
export async function whileLoggingIn<T> (base: string, people: readonly Seeded[], work: () => Promise<T>): Promise<T> {
  let over = false
  const flood = logInUntil(() => over, base, people, () => {})
  // A failure of the flood is told after the measurement, which it makes void.
  flood.catch(() => {})
  await delay(500)
  try {
    return await work()
  } finally {
    over = true
    await flood
  }
}

/** Logins a second: from the first that was done to the last, without those that were under way at either end. */
export async function measureLogins (base: string, people: readonly Seeded[], seconds: number): Promise<number> {
  const times: number[] = []
  const until = performance.now() + seconds * 1000
  await logInUntil(() => performance.now() > until, base, people, () => times.push(performance.now()))
  // Those that begin when the time is up are fewer than bcrypt can take.
  const full = times.slice(0, times.length - loggingIn + 1)
  if (full.length < 3) throw new Error('too few logins in that time: give --seconds more')
  return (full.length - 1) / ((full.at(-1) as number) - (full[0] as number)) * 1000
}

/** The median time of a logout, one after the other, each of a token that is in the cache. */
export async function measureLogouts (base: string, callers: readonly Seeded[]): Promise<number> {
  const client = createClient(base, 1)
  for (const { token } of callers) await client.expect(200, 'GET', '/v1/me', { token })
  const times: number[] = []
  for (const { token } of callers) times.push((await client.expect(204, 'POST', '/v1/logout', { token })).ms)
  client.close()
  return median(times)
}

/** p99 in milliseconds at `rate` requests a second, each counted from when it was due: whoever waits for a late one is late too. */
export async function measurePaced (client: ReturnType<typeof createClient>, tokens: readonly string[], rate: number, seconds: number): Promise<number> {
  const times: number[] = []
  const underWay: Array<Promise<void>> = []
  const startedAt = performance.now()
  for (let sent = 0; sent < rate * seconds;) {
    const now = performance.now()
    for (; sent < rate * seconds && startedAt + sent / rate * 1000 <= now; sent++) {
      const dueAt = startedAt + sent / rate * 1000
      underWay.push(client.expect(200, 'GET', '/v1/me', { token: tokens[sent % tokens.length] as string }).then(() => { times.push(performance.now() - dueAt) }))
    }
    await delay(1)
  }
  await Promise.all(underWay)
  return quantile(times, 0.99)
}
