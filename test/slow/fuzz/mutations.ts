import type { Account, Accounts } from './accounts.js'
import type { Operation } from './recipes.js'
import { anything, type Choices, nastyCharacters, nastyTexts, nastyValues } from './values.js'

/** A request being built. `operation` is null once its path or method may belong to another operation. */
export interface Draft {
  operation: Operation | null
  method: string
  path: string
  query: string
  headers: Array<[name: string, value: string]>
  /** The body's fields, unless `text` replaces them. */
  fields: Record<string, unknown> | null
  text: string | Buffer | null
  actor: Account | null
  /** Whether a 401 or 403 is due to a mutated header and says nothing about the account. */
  credentialsTouched: boolean
}

type Mutation = (draft: Draft, choices: Choices, accounts: Accounts) => void

export const ownPage = 'https://app.example.com'

const set = (
  draft: Draft,
  name: string,
  value: string
) => { draft.headers = [...draft.headers.filter(([other]) => other !== name), [name, value]] }
const add = (draft: Draft, name: string, value: string) => { draft.headers.push([name, value]) }
const has = (draft: Draft, name: string) => draft.headers.some(([other]) => other === name)
const jsonOf = (draft: Draft) => JSON.stringify(draft.fields ?? {})

/** The fields as a form; other values than strings are converted by JavaScript. */
export const formOf = (fields: Record<string, unknown>) =>
  new URLSearchParams(Object.entries(fields).map(([key, value]): [string, string] =>
    [key, typeof value === 'string' ? value : JSON.stringify(value) ?? ''])).toString()

/** Any value in a secret's field counts as a secret. */
const isSecret = (key: string) => /password|token/i.test(key)
const nastyFor = (
  key: string,
  choices: Choices,
  accounts: Accounts
) => isSecret(key) && choices.chance(0.5) ? `${accounts.marker}${choices.pick(nastyTexts)}` : choices.pick(nastyValues)

const foreignKeys = [
  'role',
  'userId',
  'id',
  'expiresAt',
  'expiresIn',
  'isAdmin',
  'emailVerifiedAt',
  'disabledAt',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  'Email',
  'email ',
  '',
  'a.b',
  '$where',
  'password[]',
  'sessionId',
  'abilities',
  'x'.repeat(5_000)
]
const prototypeKeys = [
  '"__proto__":{"role":"admin"}',
  '"\\u005f_proto__":{"role":"admin"}',
  '"constructor":{"prototype":{"role":"admin"}}',
  '"x":{"__proto__":{"a":1}}',
  '"__proto__":null'
]
const roots = [
  '[]',
  '"text"',
  'null',
  'true',
  '0',
  '-0',
  '1e999',
  '[[]]',
  '""',
  '{}',
  '{"":{}}',
  '[{"email":"a@b.c"}]',
  '// comment\n{}',
  "{'a':1}",
  '{"a":1,}',
  '{"a":01}',
  '{"a":NaN}',
  '{"a":"\\x00"}',
  '\ufeff{}',
  '\0',
  ' ',
  '\n',
  '{',
  '}',
  '"',
  '['.repeat(20_000),
  `${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}`,
  `{"email":"${'x'.repeat(70_000)}"}`,
  `[${'0,'.repeat(200_000)}0]`
]
const contentTypes = [
  'application/json',
  'Application/JSON',
  'application/json;charset=utf-8',
  'application/json\t; charset="UTF-16"',
  'application/json;',
  'application/json ; x=y',
  'text/json',
  'text/plain',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  'application/jsonx',
  'application/vnd.api+json',
  'application/json, text/plain',
  'application',
  '*/*',
  ';',
  '\u00e9',
  `application/json;${'x'.repeat(5_000)}`
]
const origins = [
  ownPage,
  'https://auth.example.com',
  'null',
  '',
  'https://app.example.com.evil',
  'https://evilapp.example.com',
  'https://app.example.com:443',
  'http://app.example.com',
  'http://localhost',
  'file://',
  `https://${'x'.repeat(3_000)}`
]
const otherHeaders: Array<[string, string]> = [
  [
    'x-forwarded-for',
    '203.0.113.1, 10.0.0.1'
  ], [
    'x-forwarded-for',
    '::ffff:127.0.0.1'
  ], [
    'forwarded',
    'for="[::1]";host=evil.example'
  ], [
    'x-forwarded-host',
    'evil.example'
  ], [
    'x-forwarded-proto',
    'javascript'
  ], ['x-http-method-override', 'DELETE'], ['x-original-url', '/v1/admin/users'], ['x-rewrite-url', '/v1/me'],
  [
    'accept',
    'text/html'
  ], [
    'accept',
    '*/*;q=0'
  ], [
    'accept-encoding',
    'gzip, br;q=0'
  ], [
    'accept-language',
    'x'.repeat(2_000)
  ], [
    'content-encoding',
    'gzip'
  ], [
    'content-encoding',
    'br'
  ], [
    'transfer-encoding',
    'chunked'
  ], ['range', 'bytes=0-1'], ['if-none-match', '*'], ['if-modified-since', 'yesterday'], ['te', 'trailers'],
  [
    'user-agent',
    ''
  ], [
    'user-agent',
    '\u00e9\u00ff\u0080'
  ], [
    'user-agent',
    'x'.repeat(9_000)
  ], [
    'referer',
    'https://evil.example/?token=x'
  ], [
    'sec-fetch-site',
    'same-origin'
  ], [
    'sec-fetch-site',
    'cross-site'
  ], [
    'sec-fetch-site',
    'none, same-origin'
  ], [
    'x-request-id',
    'x'.repeat(1_000)
  ], ['dnt', '1'], ['prefer', 'return=minimal'], ['content-length', '0'], ['traceparent', '00-zz-zz-00']
]

const authorizations = (
  token: string,
  marker: string
): string[] =>
  ['', 'Bearer', 'Bearer ', 'Bearer  ', `bearer ${token}`, `Bearer Bearer ${token}`, `Bearer ${token},${token}`, `Bearer ${token} ${token}`, `Bearer\t${token}`, `Bearer ${token}x`, `Bearer ${token.slice(
    0,
    -1
  )}`, `Bearer ${token.toUpperCase()}`, `Bearer ${token.replace(/^lk/, 'lkr')}`, `Bearer lkp_${token.slice(3)}`,
  `Basic ${Buffer.from(`user:${marker}`)
    .toString('base64')}`, `Basic ${Buffer.from(`:${token}`)
      .toString('base64')}`, `Token ${token}`, `Digest username="${marker}"`, token, `Bearer ${marker}`, 'Bearer \u00e9\u00ff', `Bearer ${'x'.repeat(9_000)}`, 'Bearer null', 'Bearer ../../etc/passwd', `Bearer "${token}"`, 'Bearer lk_']
const cookiesOf = (
  token: string,
  refresh: string,
  marker: string
): string[] =>
  [
    '',
    ';',
    '=',
    '%',
    '__Host-latchkey',
    '__Host-latchkey=',
    '__Host-latchkey=%',
    '__Host-latchkey=%ff%fe',
    '__Host-latchkey=%00',
    `__Host-latchkey="${token}"`,
    `__Host-latchkey=${token}; __Host-latchkey=${token}`,
    ` __Host-latchkey = ${token}`,
    `latchkey=${token}`,
    `__host-latchkey=${token}`,
    `__Host-latchkey=${refresh}`,
    `__Host-latchkey-refresh=${token}`,
    `__Host-latchkey=${marker}`,
    `__proto__=1; constructor=2; __Host-latchkey=${token}`,
    `a=${'x'.repeat(9_000)}`,
    `${'a=1; '.repeat(1_000)}__Host-latchkey=${token}`
  ]
const segments = [
  '',
  '0',
  '-1',
  'null',
  'undefined',
  '%00',
  '%2e%2e',
  '../..',
  '.',
  '%2f',
  '%252f',
  "1'%20or%20'1'='1",
  '%F0%9F%98%80',
  '%ff',
  '%',
  '%zz',
  '*',
  '{id}',
  ':id',
  '__proto__',
  'constructor',
  '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff',
  'FFFFFFFF-FFFF-4FFF-8FFF-FFFFFFFFFFFF',
  'x'.repeat(9_000),
  '\u00e9',
  'a;b=c',
  'a,b',
  '[]',
  '%0d%0aX-Injected:%201'
]

const onBody: Record<string, Mutation> = {
  'another value' (draft, choices, accounts) {
    const key = choices.pick(Object.keys(draft.fields ?? {}).concat('x'))
    draft.fields = { ...draft.fields, [key]: nastyFor(key, choices, accounts) }
  },
  'a character more' (draft, choices) {
    const key = choices.pick(Object.keys(draft.fields ?? {}).concat('x'))
    const before = draft.fields?.[key] ?? 'x'
    const value = typeof before === 'string' ? before : JSON.stringify(before)
    const at = choices.below(value.length + 1)
    draft.fields = { ...draft.fields, [key]: `${value.slice(0, at)}${choices.pick(nastyCharacters)}${value.slice(at)}` }
  },
  'any JSON as a value' (draft, choices) {
    draft.fields = { ...draft.fields, [choices.pick(Object.keys(draft.fields ?? {}).concat('x'))]: choices.sample(anything) }
  },
  'a field left out' (draft, choices) {
    const left = choices.pick(Object.keys(draft.fields ?? {}).concat('x'))
    draft.fields = Object.fromEntries(Object.entries(draft.fields ?? {}).filter(([key]) => key !== left))
  },
  'a field more' (draft, choices, accounts) {
    const key = choices.pick(foreignKeys)
    draft.fields = { ...draft.fields, [key]: choices.pick([1, 'admin', null, {}, accounts.marker, '2999-01-01T00:00:00Z']) }
  },
  'a key twice' (draft, choices, accounts) {
    const key = choices.pick(Object.keys(draft.fields ?? {}).concat('x'))
    draft.text = `{${JSON.stringify(key)}:${JSON.stringify(nastyFor(key, choices, accounts))},${jsonOf(draft).slice(1)}`.replace(
      /,\}$/,
      '}'
    )
  },
  'a key for prototypes' (
    draft,
    choices
  ) { draft.text = `{${choices.pick(prototypeKeys)}${jsonOf(draft) === '{}' ? '}' : `,${jsonOf(draft).slice(1)}`}` },
  'a key in escapes' (draft) { draft.text = jsonOf(draft).replace(
    /"(\w)/,
    (_all, letter: string) => `"\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`
  ) },
  'another root' (draft, choices) { draft.text = choices.pick(roots) },
  'any JSON as the body' (draft, choices) { draft.text = JSON.stringify(choices.sample(anything)) ?? '' },
  'cut off' (draft, choices) { draft.text = jsonOf(draft).slice(0, choices.below(jsonOf(draft).length)) },
  'more after the end' (
    draft,
    choices
  ) { draft.text = jsonOf(draft) + choices.pick(['x', '\0', '{}', ',', '\n\n', ' ', ']', jsonOf(draft)]) },
  'bytes that are no UTF-8' (
    draft,
    choices
  ) { draft.text = Buffer.concat([
    Buffer.from(jsonOf(draft).slice(0, -2)),
    Buffer.from(choices.pick([[0xff, 0xfe], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf8], [0]])),
    Buffer.from('"}')
  ]) },
  'in UTF-16' (draft) { draft.text = Buffer.from(`\ufeff${jsonOf(draft)}`, 'utf16le') },
  'wide space' (draft) { draft.text = JSON.stringify(draft.fields ?? {}, null, '\n\t  ') },
  'no body' (draft) { draft.text = '' },
  'as a form' (draft) {
    draft.text = formOf(draft.fields ?? {})
    set(draft, 'content-type', 'application/x-www-form-urlencoded')
  }
}

const onHeaders: Record<string, Mutation> = {
  'another Authorization' (draft, choices, accounts) {
    draft.credentialsTouched = true
    set(draft, 'authorization', choices.pick(authorizations(draft.actor?.token ?? 'lk_none', accounts.marker)))
  },
  'no Authorization' (draft) {
    draft.credentialsTouched = true
    draft.headers = draft.headers.filter(([name]) => name !== 'authorization')
  },
  'two of a header' (draft, choices) {
    draft.credentialsTouched = true
    const twin = choices.pick(draft.headers.concat([['origin', ownPage]]))
    add(draft, twin[0], choices.chance(0.5) ? twin[1] : 'x')
  },
  'the refresh token as the access token' (draft) {
    draft.credentialsTouched = true
    set(draft, 'authorization', `Bearer ${draft.actor?.refreshToken ?? 'lkr_none'}`)
  },
  'a personal token' (draft) {
    draft.credentialsTouched = true
    if (draft.actor?.personal != null) set(draft, 'authorization', `Bearer ${draft.actor.personal.token}`)
  },
  'by cookie' (draft, choices) {
    if (draft.actor === null || !has(draft, 'authorization')) return
    draft.credentialsTouched = true
    draft.headers = draft.headers.filter(([name]) => name !== 'authorization')
    add(draft, 'cookie', `a=b; __Host-latchkey=${draft.actor.token}; __Host-latchkey-refresh=${draft.actor.refreshToken}`)
    set(draft, 'origin', choices.chance(0.7) ? ownPage : choices.pick(origins))
  },
  'a broken cookie' (draft, choices, accounts) {
    draft.credentialsTouched = true
    if (choices.chance(0.7)) draft.headers = draft.headers.filter(([name]) => name !== 'authorization')
    set(draft, 'cookie', choices.pick(cookiesOf(draft.actor?.token ?? 'lk_none', draft.actor?.refreshToken ?? 'lkr_none', accounts.marker)))
  },
  'another Origin' (draft, choices) { set(draft, 'origin', choices.pick(origins)) },
  'another type' (draft, choices) { set(draft, 'content-type', choices.pick(contentTypes)) },
  'no type' (draft) { draft.headers = draft.headers.filter(([name]) => name !== 'content-type') },
  'another header' (draft, choices) {
    const [name, value] = choices.pick(otherHeaders)
    set(draft, name, value)
  }
}

const onTarget: Record<string, Mutation> = {
  'another segment' (draft, choices) {
    draft.operation = null
    const parts = draft.path.split('/')
    parts[1 + choices.below(parts.length - 1)] = choices.pick(segments)
    draft.path = parts.join('/')
  },
  'another last segment' (draft, choices) {
    draft.operation = null
    draft.path = draft.path.replace(/[^/]*$/, () => choices.pick(segments))
  },
  'another spelling' (draft, choices) {
    draft.operation = null
    draft.path = choices.pick([
      `/${draft.path}`,
      `${draft.path}/`,
      `${draft.path};x=1`,
      draft.path.toUpperCase(),
      draft.path.replaceAll('/', '//'),
      `/x/..${draft.path}`,
      `/.${draft.path}`,
      draft.path.replace(/[a-z]/, letter => `%${letter.charCodeAt(0).toString(16)}`),
      `${draft.path}%20`,
      `${draft.path}%00`,
      `${draft.path}.json`,
      `http://evil.example${draft.path}`,
      `${draft.path}#x`,
      draft.path.replace(/.$/, '')
    ])
  },
  'a query' (draft, choices, accounts) {
    const junk = choices.pick([
      `access_token=${draft.actor?.token ?? 'lk_none'}`,
      `password=${accounts.marker}`,
      '__proto__=1',
      'a[]=1&a[b]=2',
      'x=%zz',
      'x=%',
      '&&&',
      '=',
      `x=${'y'.repeat(9_000)}`,
      '?',
      'constructor.prototype=1',
      'limit=-1&cursor=x',
      'limit=1e9',
      'cursor=%00',
      'email=%25',
      'userId=none',
      'email=a&email=b',
      'x=%ff'
    ])
    // A declared query may now be malformed and is answered as declared; an undeclared one is ignored.
    draft.query = draft.query === '' ? junk : `${draft.query}&${junk}`
  },
  'another method' (draft, choices) {
    draft.operation = null
    draft.method = choices.pick(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'M-SEARCH'])
  },
  'a body where none belongs' (draft, choices) {
    if (draft.fields !== null) return
    draft.text = choices.pick(['{}', '{"role":"admin"}', 'x', '[]', '{', `{"a":"${'x'.repeat(70_000)}"}`])
    set(draft, 'content-type', choices.pick(['application/json', 'text/plain', 'application/x-www-form-urlencoded']))
  }
}

const kinds = [onBody, onBody, onHeaders, onTarget].map(group => Object.entries(group))
const withoutBody = [onHeaders, onTarget].map(group => Object.entries(group))

/** The names of all mutations. */
export const mutationNames = [onBody, onHeaders, onTarget].flatMap(group => Object.keys(group))

/** Applies one to three mutations to `draft` and returns their names. */
export function mutate (draft: Draft, choices: Choices, accounts: Accounts): string[] {
  const times = 1 + choices.below(10) % 3
  return Array.from({ length: times }, () => {
    const [name, change] = choices.pick(choices.pick(draft.fields === null ? withoutBody : kinds))
    change(draft, choices, accounts)
    return name
  })
}

/** The request's bytes, malformed in one of several ways. */
export function rawBytes (draft: Draft, body: string, choices: Choices): Buffer {
  const lines = draft.headers.map(([name, value]) => `${name}: ${value}`)
  const target = `${draft.path}${draft.query === '' ? '' : `?${draft.query}`}`
  const whole = (start: string, more: string[], end = body) => Buffer.from([start, ...more, '', end].join('\r\n'), 'latin1')
  const usual = ['Host: a', ...lines, `Content-Length: ${Buffer.byteLength(body, 'latin1')}`, 'Connection: close']
  const start = `${draft.method} ${target} HTTP/1.1`
  const smuggled = `GET /v1/me HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`
  return choices.pick<() => Buffer>([
    () => whole(start, [...usual, 'X-Control: a\0b']),
    () => whole(start, [...usual, 'User-Agent: a\u001b[2J\rX-Injected: 1']),
    () => whole(start, [...usual, ' folded: x']),
    () => whole(start, [...usual, 'No-Colon']),
    () => whole(start, usual.slice(1)),
    () => whole(`${draft.method} ${target} HTTP/1.0`, usual),
    () => whole(`${draft.method} ${target} HTTP/9.9`, usual),
    () => whole(`FROB ${target} HTTP/1.1`, usual),
    () => whole(`${draft.method} ${target}\u0001\u00ff HTTP/1.1`, usual),
    () => whole(`${draft.method}  ${target}  HTTP/1.1`, usual),
    () => whole(start, [...usual, 'Transfer-Encoding: chunked'], `${body}${smuggled}`),
    () => whole(start, [...usual, 'Content-Length: 3'], `${body}${smuggled}`),
    () =>
      whole(
        start,
        ['Host: a', ...lines, 'Transfer-Encoding: chunked', 'Connection: close'],
        `${Buffer.byteLength(body, 'latin1').toString(16)};ext="x"\r\n${body}\r\n0\r\nTrailer: x\r\n\r\n`
      ),
    () => whole(start, ['Host: a', ...lines, 'Transfer-Encoding: chunked'], 'zz\r\n'),
    () => whole(start, ['Host: a', ...lines, `Content-Length: ${body.length + 10}`]),
    () => whole(start, [...usual, 'Expect: 100-continue']),
    () => whole(start, [...usual, 'Expect: something']),
    () => whole(start, [...usual, 'Upgrade: websocket', 'Connection: Upgrade']),
    () => whole(start, [...usual, `X-Long: ${'x'.repeat(20_000)}`]),
    () => whole(start, [...usual, ...Array.from({ length: 2_500 }, (_, i) => `X-${i}: y`)]),
    () => Buffer.from(`${start}\nHost: a\n${lines.join('\n')}\nConnection: close\n\n${body}`, 'latin1'),
    () =>
      Buffer.concat([whole(start, ['Host: a', ...lines, `Content-Length: ${Buffer.byteLength(body, 'latin1')}`]), Buffer.from(smuggled)]),
    () => Buffer.concat([Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]), whole(start, usual)])
  ])()
}
