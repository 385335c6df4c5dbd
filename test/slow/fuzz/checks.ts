import { createHash } from 'node:crypto'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import type postgres from 'postgres'
import type { Incoming } from './client.js'
import type { Answer, Operation } from './recipes.js'
import type { Schema } from './values.js'

export interface Openapi {
  paths: Record<string, Record<string, {
    security?: unknown[]
    requestBody?: Answer
    parameters?: Array<{ in: string, name: string, required?: boolean, schema: Schema }>
    responses: Record<string, Answer>
  }>>
  components: { schemas: Record<string, Schema> }
}

/** Each method of each path, with schemas that refer to no others. */
export function operationsOf ({ paths, components }: Openapi): Operation[] {
  return Object.entries(inlined(paths, components.schemas)).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { security = [], requestBody, parameters = [], responses }]) => ({
    name: `${method.toUpperCase()} ${path}`,
    method: method.toUpperCase(),
    path,
    security,
    body: requestBody?.content?.['application/json']?.schema ?? null,
    form: requestBody?.content?.['application/x-www-form-urlencoded']?.schema ?? null,
    query: parameters.filter(one => one.in === 'query').map(({ name, required = false, schema }) => ({ name, required, schema })),
    responses
  })))
}

/** `node` with the schemas that it refers to in the places of the references; none refers to itself. */
function inlined<Node> (node: Node, schemas: Record<string, Schema>): Node {
  return JSON.parse(JSON.stringify(node), (_name, value: { $ref?: string } | null) => {
    const [, name] = /^#\/components\/schemas\/(\w+)$/.exec(value?.$ref ?? '') ?? []
    if (name === undefined) return value
    const schema = schemas[name]
    if (schema === undefined) throw new Error(`no schema is called ${name}`)
    return { ...inlined(schema, schemas), ...value, $ref: undefined }
  }) as Node
}

/** Answers any route may give before its handler runs: for a bad URL, framing, content type or body. */
const beforeRoutes = new Set([400, 404, 408, 413, 415, 417, 431])

const failure = {
  type: 'object',
  required: ['statusCode', 'code', 'error', 'message'],
  additionalProperties: false,
  properties: {
    statusCode: { type: 'integer' },
    code: { type: 'string', pattern: '^(AUTH|FST)_[A-Z_]+$' },
    error: { type: 'string' },
    message: { type: 'string' },
    error_description: { type: 'string' },
    field: { type: 'string', pattern: '^[A-Za-z_.]+$' },
    reason: { type: 'string', pattern: '^[a-z_]+$' },
    factors: { type: 'array', items: { enum: ['totp', 'recovery'] } },
    challenge: { type: 'string', pattern: '^lkc_[0-9A-Za-z]{43}$' },
    expiresIn: { type: 'integer' }
  },
  if: { properties: { code: { const: 'FST_ERR_VALIDATION' } } },
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
  then: { required: ['field', 'reason'] }
}

/** Whether `path`, in any spelling that the router takes, is that of session data: what their owner has sent is what they get back. */
function isSessionData (path: string): boolean {
  return /\/+session\/+data/.test(path.replace(/%([2-7][0-9a-f])/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))))
}

/** Checks replies: each returned line is one broken promise. */
export function createReplyCheck (openapi: Openapi, marker: string) {
  const ajv = new Ajv2020({
    strict: false,
    formats: { 'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, uuid: true, email: true, uri: true }
  })
  ajv.addSchema({ $id: 'openapi', ...openapi }, 'openapi', false, false)
  const isFailure = ajv.compile(failure)
  const compiled = new Map<string, ValidateFunction>()

  function schemaOf ({ path, method }: Operation, status: number): ValidateFunction {
    const at = `openapi#/paths/${path.replaceAll('~', '~0').replaceAll(
      '/',
      '~1'
    )}/${method.toLowerCase()}/responses/${status}/content/application~1json/schema`
    const known = compiled.get(at) ?? ajv.compile({ $ref: encodeURI(at) })
    compiled.set(at, known)
    return known
  }

  return (operation: Operation | null, method: string, path: string, { status, headers, body }: Incoming): string[] => {
    const faults: string[] = []
    const claim = (holds: boolean, what: string) => { if (!holds) faults.push(what) }
    claim(status < 500 || status === 503, `answered ${status}`)
    claim(headers['x-content-type-options'] === 'nosniff', 'no nosniff')
    claim(/^max-age=[1-9]\d{6,}/.test(headers['strict-transport-security'] ?? ''), 'no HSTS')
    claim(headers['cache-control'] === 'no-store', 'no no-store')
    claim(headers['x-powered-by'] === undefined && headers.server === undefined, 'tells what it runs on')
    claim(headers['x-injected'] === undefined, 'a header was injected')
    claim(status !== 401 || /^(Bearer|Basic)/.test(headers['www-authenticate'] ?? ''), 'a 401 without a challenge')
    claim((status !== 429 && status !== 503) || /^[1-9]\d*$/.test(headers['retry-after'] ?? ''), `a ${status} without Retry-After`)
    claim(!body.includes(marker) || (status < 300 && isSessionData(path)), 'the reply repeats a secret')
    if (method === 'HEAD' || status === 204) {
      claim(body === '', `a body with ${method} ${status}`)
      return faults
    }
    const json = parse(body)
    const declared = operation?.responses[status]
    // Forward auth has bare ones of these, under other spellings of its path too.
    const mayBeBare = operation === null ? status < 400 || status === 401 : declared !== undefined && declared.content === undefined
    claim(json !== undefined || mayBeBare, 'the body is no JSON')
    if (status >= 400 && !isFailure(json) && status !== 503 && !(mayBeBare && body === '')) faults.push(`no error of the house: ${body.slice(0, 200)}`)
    // The route of a request that could not be parsed is unknown.
    if (operation === null || (json as { code?: string } | undefined)?.code === 'FST_ERR_BAD_REQUEST') return faults
    if (declared === undefined) claim(
      beforeRoutes.has(status) && /^(FST_|AUTH_NOT_FOUND)/.test((json as { code?: string } | undefined)?.code ?? ''),
      `${status} is not declared: ${body.slice(0, 200)}`
    )
    else if (declared.content?.['application/json'] === undefined) claim(body === '', `${status} is declared without a body`)
    else {
      const validate = schemaOf(operation, status)
      claim(
        validate(json) === true,
        `${status} is not as declared: ${JSON.stringify(validate.errors)?.slice(0, 300)} ${body.slice(0, 200)}`
      )
    }
    return faults
  }
}

/** The heads of all final replies received on a raw connection; 1xx replies are skipped. */
export function headsOf (said: string): Incoming[] {
  return said.split(/(?=HTTP\/1\.[01] \d{3} )/).filter(part => /^HTTP\/1\.[01] [2-5]/.test(part)).map(part => {
    const [head = '', ...rest] = part.split('\r\n\r\n')
    const [first = '', ...lines] = head.split('\r\n')
    return {
      status: Number(first.split(' ')[1]),
      headers: Object.fromEntries(lines.map(line =>
        [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()])),
      body: rest.join('\r\n\r\n')
    }
  })
}

/** All secrets that must not be in a log, in every encoding a log could use. */
export async function secretsOf (sql: postgres.Sql, mailed: string[]): Promise<Set<string>> {
  const columns = await sql<Array<{ relation: string, name: string }>>`
    select table_name as relation, column_name as name from information_schema.columns
    where table_schema = 'public' and (data_type = 'bytea' or column_name ~ '(hash|secret|key)') and udt_name in ('bytea', 'text')`
  const found = new Set<string>()
  for (const { relation, name } of columns) {
    const rows = await sql<Array<{ value: Buffer
      | string }>>`select ${sql(name)} as value from ${sql(relation)} where ${sql(name)} is not null`
    for (const { value } of rows) for (const text of spellings(value)) found.add(text)
  }
  for (const token of mailed) for (const text of [token, ...spellings(createHash('sha256').update(token).digest())]) found.add(text)
  return found
}

function spellings (value: Buffer | string): string[] {
  return typeof value === 'string'
    ? [value]
    : [value.toString('hex'), value.toString('base64').replace(/=+$/, ''), value.toString('base64url')]
}

/**
 * The lines of `log` that hold a secret: the marker of passwords, anything that looks like a token or a bcrypt hash, or one of `secrets`.
 */
export function leaksIn (log: string, marker: string, secrets: Set<string>): string[] {
  return log.split('\n').filter(line =>
    line.includes(marker) ||
      /lk[a-z]{0,2}_[0-9A-Za-z]{20,}|\$2[aby]\$\d\d\$/.test(line) ||
      (line.match(/[\w+/.~-]{16,}/g) ?? []).some(word => secrets.has(word)))
}

function parse (body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}
