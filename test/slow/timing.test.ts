import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import bcrypt from 'bcrypt'
import t, { type Test } from 'tap'
import { newEmail, password, serverGround, startApp, type TestApp } from '../fixtures/app.js'
import { median, spread, superiority } from '../fixtures/ranks.js'
import { createChoices } from './fuzz/values.js'

const samples = 1_000
/** Attempts per account: below every failure limit, and enough that an account's first use doesn't matter. */
const attemptsEach = 40
/**
 * How far the probability that one kind takes longer than another may be from one half. With 1,000 samples of each, its standard deviation
 * is 0.013 if both kinds take the same time: the limit is six of them away from chance, and a probability of 0.65 another five beyond the
 * limit. Without the dummy hash the probability is a quarter away from one half even on a machine with ten times the work it can do.
 */
const limit = 0.08
const [unknown, wrong, disabled] = ['unknown', 'wrong', 'disabled'] as const
const kinds = [unknown, wrong, disabled]

t.setTimeout(600_000)

t.test('the limit detects the difference that its comment claims', async t => {
  t.ok(limit > 6 * spread(samples, samples), `${(limit / spread(samples, samples)).toFixed(1)} standard deviations from chance`)
  t.ok(0.65 - 0.5 - limit > 5 * spread(samples, samples), 'a probability of 0.65 is detected')
  const choices = createChoices(1)
  const noise = (shift: number) =>
    Array.from({ length: samples }, () => shift + [1, 2, 3, 4, 5, 6].reduce(sum => sum + choices.below(1_000) / 1_000, 0))
  t.ok(Math.abs(superiority(noise(0), noise(0)) - 0.5) < limit, 'noise alone passes')
  t.ok(superiority(noise(0.39), noise(0)) - 0.5 > limit, 'half a standard deviation more does not')
  t.equal(superiority([1, 2, 2], [2, 3]), (0 + 0 + 0.5 + 0 + 0.5 + 0) / 6)
  t.equal(superiority([5, 6], [1, 2]), 1)
})

t.test('V6.3.8 logins of an unknown email, with a wrong password, and of a disabled user take one and the same time', async t => {
  const one = await start(t)
  if (one === null) return
  const took = await measure(one)
  t.same(toldApart(t, took), [])
  t.comment(`with a tenth less work for unknown: ${superiority(took.unknown.map(ms => ms * 0.9), took.wrong).toFixed(3)}`)
})

t.test('a build without the dummy hash is detected', async t => {
  // The first hash made is the dummy: comparing with this one ends at once.
  const { compare, hash } = bcrypt
  let nobody: string | null = null
  t.teardown(() => Object.assign(bcrypt, { compare, hash }))
  Object.assign(bcrypt, {
    async hash (text: string, cost: number) {
      const made = await hash(text, cost)
      nobody ??= made
      return made
    },
    compare: (text: string, stored: string) => stored === nobody ? Promise.resolve(false) : compare(text, stored)
  })
  const one = await start(t)
  if (one === null) return
  t.same(toldApart(t, await measure(one)), ['unknown and wrong', 'unknown and disabled'])
})

t.test('with mails', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-mails-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const env = { DATA_DIR: folder, APP_URL: 'https://app.example.com/account', SESSION_LIMIT: '0' }
  const one = await startApp(t, ground, { env })
  const accounts = async () => {
    const emails: string[] = []
    for (let i = 0; i < 300; i++) emails.push((await one.account()).email)
    return emails
  }

  t.test('V6.3.8 a forgotten password takes one and the same time for known and unknown addresses', async t => {
    const known = await accounts()
    const ask = (email: string) => one.call('POST', '/v1/password/forgot', { body: { email } })
    await takesTheSame(t, [{ kind: 'known', emails: known, ask }, { kind: 'unknown', emails: known.map(() => newEmail()), ask }])
  })

  t.test('V6.3.8 with REGISTRATION=confirm a taken address is answered in the time of a new one', async t => {
    const confirming = await startApp(t, ground, { env: { ...env, REGISTRATION: 'confirm', BCRYPT_COST: '6' } })
    const taken = await accounts()
    const ask = (email: string) => confirming.call('POST', '/v1/register', { body: { email, password } })
    await takesTheSame(t, [{ kind: 'taken', emails: taken, ask }, { kind: 'new', emails: taken.map(() => newEmail()), ask }])
  })
})

type Took = Record<typeof kinds[number], number[]>

/** The pairs of kinds whose times differ beyond the limit. */
function toldApart (t: Test, took: Took): string[] {
  t.comment(`medians in ms: ${kinds.map(kind => `${kind} ${median(took[kind]).toFixed(2)}`).join(', ')}`)
  return ([[unknown, wrong], [unknown, disabled], [wrong, disabled]] as const).flatMap(([one, other]) => {
    const probability = superiority(took[one], took[other])
    t.comment(`${one} takes longer than ${other} with a probability of ${probability.toFixed(3)}`)
    return Math.abs(probability - 0.5) < limit ? [] : [`${one} and ${other}`]
  })
}

async function start (t: Test): Promise<TestApp | null> {
  const ground = await serverGround(t)
  return ground === null ? null : await startApp(t, ground, { env: { BCRYPT_COST: '7', LOGIN_LIMIT: '1000000/1m', LOG_LEVEL: 'warn' } })
}

/** Milliseconds of each attempt, one after another in random order, so that the machine's other work affects all kinds alike. */
async function measure (one: TestApp): Promise<Took> {
  const accounts = Array.from({ length: samples / attemptsEach }, (_, i) => i)
  const emails = {
    unknown: accounts.map(() => newEmail()),
    wrong: await Promise.all(accounts.map(async () => (await one.account()).email)),
    disabled: await Promise.all(accounts.map(async () => (await one.account()).email))
  }
  await one.database.prepared('update users set disabled_at = now() where email = any($1::text[])', [`{${emails.disabled.join(',')}}`])
  const took: Took = { unknown: [], wrong: [], disabled: [] }
  const choices = createChoices(2)
  const order = kinds.flatMap(
    kind => emails[kind].flatMap(email => Array.from({ length: attemptsEach }, (
  ) => ({ kind, email, at: choices.below(2 ** 31) })))).sort((
    a,
    b
  ) => a.at - b.at)
  for (let i = 0; i < 60; i++) await attempt(one, newEmail())
  for (const { kind, email } of order) took[kind].push(await attempt(one, email))
  return took
}

async function attempt (one: TestApp, email: string): Promise<number> {
  const startedAt = performance.now()
  const reply = await one.login(email, { password: 'this is not the password' })
  const took = performance.now() - startedAt
  if (reply.statusCode !== 401) throw new Error(`${reply.statusCode} ${reply.body}`)
  return took
}

/** Sends requests for the addresses of two kinds in random order and ranks their times. */
async function takesTheSame (t: Test, kinds: [Asked, Asked]): Promise<void> {
  const choices = createChoices(3)
  const order = kinds.flatMap(({ emails, ask }, kind) => emails.map(email => ({ kind, email, ask, at: choices.below(2 ** 31) }))).sort((
    a,
    b
  ) => a.at - b.at)
  const took: [number[], number[]] = [[], []]
  for (const { kind, email, ask } of order) {
    const startedAt = performance.now()
    const reply = await ask(email)
    took[kind as 0 | 1].push(performance.now() - startedAt)
    if (reply.statusCode !== 202) throw new Error(`${reply.statusCode} ${reply.body}`)
  }
  const probability = superiority(took[0], took[1])
  // Five standard deviations: a false alarm in a million runs.
  const limit = 5 * spread(took[0].length, took[1].length)
  t.ok(
    Math.abs(probability - 0.5) < limit,
    `${kinds[0].kind} takes longer than ${kinds[1].kind} with a probability of ${probability.toFixed(3)}; medians ${median(took[0])
      .toFixed(2)} and ${median(took[1]).toFixed(2)} ms`
  )
}

interface Asked { kind: string, emails: string[], ask (email: string): Promise<{ statusCode: number, body: string }> }
