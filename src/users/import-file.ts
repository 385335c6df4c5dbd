import { createReadStream } from 'node:fs'
import { Compile } from 'typebox/compile'
import { Email, Moment, Name } from '../http/schemas.js'
import { isUuid, nilUuid } from '../shared/ids.js'
import { isAddress, normaliseEmail } from './email.js'
import { isPlainBcrypt } from './password.js'
import type { NewUser } from './store.js'

const batchSize = 1_000
const lineMaxBytes = 64 * 1024

/** What is wrong with a line of the file, counted from 1. */
export interface Problem { line: number, reason: string }

export interface Candidate { line: number, user: NewUser }

/** `endsAt`: how many bytes of the file have been read with it. */
export interface Batch { found: Candidate[], bad: Problem[], endsAt: number }

/** The users in the file, in batches; of lines that hold none, what is wrong with them. */
export async function * readBatches (path: string, now: Date): AsyncGenerator<Batch> {
  let batch: Batch = { found: [], bad: [], endsAt: 0 }
  for await (const { line, bytes, endsAt } of readLines(path)) {
    batch.endsAt = endsAt
    const read = bytes === null ? 'is longer than 64 KiB' : readUser(bytes, now)
    if (read === null) continue
    if (typeof read === 'string') batch.bad.push({ line, reason: read })
    else batch.found.push({ line, user: read })
    if (batch.found.length + batch.bad.length < batchSize) continue
    yield batch
    batch = { found: [], bad: [], endsAt }
  }
  yield batch
}

/** The lines of a file of any size, one at a time, and where each ends; null for lines longer than 64 KiB. */
async function * readLines (path: string): AsyncGenerator<{ line: number, bytes: Buffer | null, endsAt: number }> {
  let [line, size, endsAt] = [1, 0, 0]
  let parts: Buffer[] = []
  const take = (part: Buffer) => {
    size += part.length
    endsAt += part.length
    if (size <= lineMaxBytes) parts.push(part)
    else parts = []
  }
  const end = () => {
    const whole = { line, bytes: size > lineMaxBytes ? null : Buffer.concat(parts), endsAt }
    line++
    size = 0
    parts = []
    return whole
  }
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    let from = 0
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, from)) {
      take(chunk.subarray(from, at))
      endsAt++
      yield end()
      from = at + 1
    }
    take(chunk.subarray(from))
  }
  yield end()
}

const [email, name, moment] = [Compile(Email), Compile(Name), Compile(Moment)]
const isTime = (found: unknown) => moment.Check(found) && Date.parse(found) >= 0
const isId = (found: unknown) => typeof found === 'string' && isUuid(found) && found !== nilUuid
const spellings: Record<string, string> = { password_hash: 'passwordHash', email_verified_at: 'emailVerifiedAt', created_at: 'createdAt' }
const fields = new Set(['id', 'email', 'passwordHash', 'name', 'role', 'emailVerifiedAt', 'createdAt'])

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
    if (field === 'totpSecret') reasons.push('totpSecret cannot be imported')
    else if (!fields.has(field)) reasons.push(`the field ${JSON.stringify(key.slice(0, 40))} is unknown`)
    else if (given.has(field)) reasons.push(`${field} is there twice`)
    else given.set(field, content)
  }
  const user = {
    id: optional('id', isId, 'must be a UUID, and not the nil one'),
    email: required('email', found => email.Check(found) && isAddress(normaliseEmail(found)), 'is not an address'),
    passwordHash: required(
      'passwordHash',
      found => typeof found === 'string' && isPlainBcrypt(found),
      'is not a bcrypt hash: $2a$, $2b$ or $2y$, cost 4 to 15'
    ),
    name: optional('name', found => name.Check(found), 'must have 1 to 200 characters, and no control character'),
    role: optional('role', found => found === 'user' || found === 'admin', 'is neither user nor admin') as NewUser['role'] | null,
    emailVerifiedAt: time('emailVerifiedAt'),
    createdAt: time('createdAt')
  }
  if (reasons.length > 0) return reasons.join('; ')
  return {
    ...user.id === null ? {} : { id: user.id.toLowerCase() },
    email: normaliseEmail(user.email),
    passwordHash: user.passwordHash,
    name: user.name,
    role: user.role ?? 'user',
    emailVerifiedAt: user.emailVerifiedAt,
    createdAt: user.createdAt ?? now
  }

  function time (field: string): Date | null {
    const found = optional(field, isTime, 'is not a time of RFC 3339, with its zone, since 1970')
    if (found === null) return null
    const at = new Date(found)
    if (at > now) reasons.push(`${field} is in the future`)
    return at
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
