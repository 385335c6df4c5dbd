import { createReadStream } from 'node:fs'
import { Compile } from 'typebox/compile'
import { Email, Moment, Name } from '../http/schemas.js'
import { isAddress, normaliseEmail } from './email.js'
import { isPlainBcrypt } from './password.js'
import type { NewUser } from './store.js'

const batchSize = 1_000
const lineMaxBytes = 64 * 1024

/** What is wrong with a line of the file, counted from 1. */
export interface Problem { line: number, reason: string }

interface Candidate { line: number, user: NewUser }

/** The users in the file, in batches; of lines that hold none, what is wrong with them. */
export async function * readBatches (path: string, now: Date): AsyncGenerator<{ found: Candidate[], bad: Problem[] }> {
  let batch: { found: Candidate[], bad: Problem[] } = { found: [], bad: [] }
  for await (const { line, bytes } of readLines(path)) {
    const read = bytes === null ? 'is longer than 64 KiB' : readUser(bytes, now)
    if (read === null) continue
    if (typeof read === 'string') batch.bad.push({ line, reason: read })
    else batch.found.push({ line, user: read })
    if (batch.found.length + batch.bad.length < batchSize) continue
    yield batch
    batch = { found: [], bad: [] }
  }
  yield batch
}

/** The lines of a file of any size, one at a time; null for lines longer than 64 KiB. */
async function * readLines (path: string): AsyncGenerator<{ line: number, bytes: Buffer | null }> {
  let [line, size] = [1, 0]
  let parts: Buffer[] = []
  const take = (part: Buffer) => {
    size += part.length
    if (size <= lineMaxBytes) parts.push(part)
    else parts = []
  }
  const end = () => {
    const whole = { line, bytes: size > lineMaxBytes ? null : Buffer.concat(parts) }
    line++
    size = 0
    parts = []
    return whole
  }
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    let from = 0
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, from)) {
      take(chunk.subarray(from, at))
      yield end()
      from = at + 1
    }
    take(chunk.subarray(from))
  }
  yield end()
}

const [email, name, moment] = [Compile(Email), Compile(Name), Compile(Moment)]
const isTime = (found: unknown) => moment.Check(found) && Date.parse(found) >= 0
const spellings: Record<string, string> = { password_hash: 'passwordHash', email_verified_at: 'emailVerifiedAt', created_at: 'createdAt' }
const fields = new Set(['email', 'passwordHash', 'name', 'emailVerifiedAt', 'createdAt'])

/** The user in a line, or what is wrong with it, or null for an empty line. Values are never repeated: they may be hashes. */
function readUser (bytes: Buffer, now: Date): NewUser | string | null {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes).trim()
  } catch {
    return 'is not UTF-8'
  }
  if (text === '') return null
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return 'is not JSON'
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'is not a JSON object'

  const reasons: string[] = []
  const given = new Map<string, unknown>()
  for (const [key, content] of Object.entries(value)) {
    const field = Object.hasOwn(spellings, key) ? spellings[key] as string : key
    if (!fields.has(field)) reasons.push(`the field ${JSON.stringify(key.slice(0, 40))} is unknown`)
    else if (given.has(field)) reasons.push(`${field} is there twice`)
    else given.set(field, content)
  }
  const user = {
    email: required('email', found => email.Check(found) && isAddress(normaliseEmail(found)), 'is not an address'),
    passwordHash: required(
      'passwordHash',
      found => typeof found === 'string' && isPlainBcrypt(found),
      'is not a bcrypt hash: $2a$, $2b$ or $2y$, cost 4 to 15'
    ),
    name: optional('name', found => name.Check(found), 'must have 1 to 200 characters, and no control character'),
    emailVerifiedAt: optional('emailVerifiedAt', isTime, 'is not a time of RFC 3339, with its zone, since 1970'),
    createdAt: optional('createdAt', isTime, 'is not a time of RFC 3339, with its zone, since 1970')
  }
  if (reasons.length > 0) return reasons.join('; ')
  return {
    email: normaliseEmail(user.email),
    passwordHash: user.passwordHash,
    name: user.name,
    emailVerifiedAt: user.emailVerifiedAt === null ? null : new Date(user.emailVerifiedAt),
    createdAt: user.createdAt === null ? now : new Date(user.createdAt)
  }

  function required (field: string, isRight: (found: unknown) => boolean, wrong: string): string {
    const found = optional(field, isRight, wrong)
    if (found === null && (given.get(field) ?? null) === null) reasons.push(`${field} is missing`)
    return found ?? ''
  }

  function optional (field: string, isRight: (found: unknown) => boolean, wrong: string): string | null {
    const found = given.get(field) ?? null
    if (found === null || isRight(found)) return found as string | null
    reasons.push(`${field} ${wrong}`)
    return null
  }
}
