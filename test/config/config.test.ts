import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import t, { type Test } from 'tap'
import { checkConfig } from '../../src/config/check.js'
import { ConfigError, loadConfig } from '../../src/config/config.js'
import { environmentSchema } from '../../src/config/environment.js'

/** The message with which `env` is refused. */
function refusal (t: Test, env: Record<string, string>): string {
  try {
    loadConfig(env)
  } catch (error) {
    t.type(error, ConfigError)
    return (error as Error).message
  }
  t.fail(`accepted ${JSON.stringify(env)}`)
  return ''
}

/** The variables that `message` names. */
const named = (message: string): string[] =>
  Object.keys(environmentSchema.properties).filter(name => new RegExp(`(^|[^A-Z_])${name}\\b`).test(message)).sort()

const durations = [
  '',
  '-1s',
  '0s',
  '1',
  's',
  '1.5h',
  '1 h',
  '1w',
  '1y',
  'P1D',
  '1h30m',
  '9999999999d',
  '999999999d',
  'forever',
  'Infinity',
  '1D',
  ' 1d',
  '1d\n'
].filter(value =>
  value !== '')
/** A missing file, a folder, an empty file and one that never ends. */
const files = ['SENTINEL', '/SENTINEL/secret', '/', '/dev/null', '/dev/zero']
const limits = [
  '5',
  '5/',
  '/1m',
  '5/0m',
  '-5/1m',
  '5/1',
  '5/1w',
  '5 / 1m',
  '1.5/1m',
  '5/1m/1m',
  '5/25d',
  '5/9999999d',
  'none',
  '00',
  '05/1m'
]

/** Values that must be refused. No message may contain SENTINEL. */
const bad: Record<string, string[]> = {
  PORT: ['SENTINEL', '-1', '65536', '3000.5', '3000,3001', '127.0.0.1:3000', 'true'],
  DRAIN_DELAY: [...durations, '301s', '6m'],
  DATABASE_URL: [
    'SENTINEL',
    'mysql://user:SENTINEL@db/x',
    'http://SENTINEL',
    'localhost:5432',
    'postgres:SENTINEL',
    'postgres://user:SENTINEL@:99999/x',
    'postgres://[SENTINEL/x',
    'postgres://user:SENT#INEL@db/x',
    'postgres://db/x?SENTINEL',
    'postgres://user:SENTINEL@db/x?nosuch=SENTINEL'
  ],
  DATABASE_URL_FILE: files,
  DATABASE_POOL: ['SENTINEL', '0', '-1', '1.5', '1001'],
  DATABASE_SCHEMA: ['SENTINEL', 'pg_sentinel', 'information_schema', '1st', 'a b', 'a"b', 'x'.repeat(64)],
  REDIS_URL: [
    'SENTINEL',
    'http://:SENTINEL@redis',
    'redis:SENTINEL',
    'redis://user:SENTINEL@redis:99999',
    'localhost:6379',
    'redis://:SENTINEL@',
    'redis://:SENTINEL@redis/db',
    'redis://:SENTINEL@redis?db=1',
    'redis://:SENT#INEL@redis',
    'redis://:SENTINEL%@redis',
    'redis://a,http://SENTINEL',
    'redis://:SENTINEL@a,redis://b',
    'redis://a,rediss://b',
    'redis://a/1,redis://b/1'
  ],
  REDIS_URL_FILE: files,
  REDIS_SENTINELS: [
    'SENTINEL',
    'sentinel:26379',
    'http://:SENTINEL@a',
    'redis://:SENTINEL@a,redis://b',
    'redis://:SENTINEL@a?x',
    'redis://a,'
  ],
  REDIS_SENTINELS_FILE: files,
  VAULT_KEYS_FILE: files,
  SECOND_FACTOR: ['SENTINEL', 'admin', 'Everyone', 'true'],
  REDIS_KEY_PREFIX: ['SENTINEL with space', 'SENTINEL\n', 'é', 'x'.repeat(65)],
  SESSION_LIMIT: ['SENTINEL', '-1', '1.5', '10001', 'unlimited'],
  TOKEN_TTL: durations,
  ACCESS_TOKEN_TTL: durations,
  REFRESH_TOKEN_TTL: durations,
  REFRESH_GRACE: durations,
  SESSION_IDLE_TTL: [...durations, '59s'],
  LAST_USE_INTERVAL: [...durations, '4999ms', '61m'],
  COOKIE_SECURE: ['SENTINEL', '1', 'yes', 'TRUE'],
  PERSONAL_TOKEN_LIMIT: ['SENTINEL', '0', '-1', '1.5'],
  SESSION_DATA_LIMIT: limits,
  WRITE_LIMIT: limits,
  UPSTASH_REDIS_REST_URL: [
    'SENTINEL', 'redis://default:SENTINEL@name.upstash.io:6379', 'rediss://SENTINEL', 'ftp://SENTINEL', 'name.upstash.io', '"https://SENTINEL"', 'https://', 'https://user:SENTINEL@name.upstash.io',
    'https://name.upstash.io?SENTINEL', 'https://name.upstash.io/#SENTINEL', 'https://name.upstash.io:99999', 'https://name upstash'
  ],
  UPSTASH_REDIS_REST_TOKEN: ['SENTINEL SENTINEL', '"SENTINEL"', 'Bearer SENTINEL', 'SENTINEL:', '==', 'x'.repeat(4_097), 'SENTINEL\n'],
  UPSTASH_REDIS_REST_TOKEN_FILE: files,
  EDGE_TTL: [...durations, '999ms', '301s', '6m'],
  INTROSPECT_UNVERIFIED: ['SENTINEL', '1', 'yes', 'TRUE'],
  SESSION_TTL: durations,
  CACHE_TTL: durations,
  BCRYPT_COST: ['SENTINEL', '3', '16', '0', '10.5'],
  PASSWORD_MIN_LENGTH: ['SENTINEL', '0', '-8', '257'],
  BREACHED_PASSWORDS_URL: [
    'SENTINEL',
    'ftp://SENTINEL',
    'https://',
    'example.com',
    'https://example.com/range?SENTINEL',
    'https://example.com/#SENTINEL',
    'https://example.com:99999/'
  ],
  LOGIN_LIMIT: [...limits, '0'],
  ADDRESS_LIMIT: limits,
  TRUST_PROXY: [
    'SENTINEL',
    'true',
    '1',
    '*',
    'proxy.SENTINEL.example',
    '999.1.1.1',
    '10.0.0.0/33',
    '10.0.0.0/0',
    '10.0.0.0/-1',
    '10.0.0.0/',
    '10.0.0/8',
    '::1/129',
    ':::',
    '10.0.0.0/8/8',
    '127.0.0.1, SENTINEL',
    '10.0.0.0/255.0.0.0',
    'fe80::1%eth0'
  ],
  CORS_HEADERS: ['SENTINEL SENTINEL', '*', 'a:b', 'X-Ä'],
  CORS_ORIGINS: [
    'SENTINEL',
    'capacitor://',
    'capacitor://*',
    'capacitor://localhost/',
    'capacitor:localhost',
    'Capacitor://localhost',
    'file://localhost',
    'ws://example.com',
    '*',
    'null',
    'https://*.example.com',
    'https://example.com/',
    'https://example.com/SENTINEL',
    'example.com',
    'HTTPS://example.com',
    'https://example.com:443',
    'https://user:SENTINEL@example.com',
    'ftp://example.com',
    'https://good.com, SENTINEL'
  ],
  PRUNE_SCHEDULE: ['SENTINEL', '* * *', '61 2 * * *', '0 25 * * *', '@SENTINEL'],
  PRUNE_TIMEZONE: ['SENTINEL', 'Mars/Olympus', 'Europe/Berlin2'],
  PRUNE_RETENTION: [...durations, '5m', '6m', '419s'],
  AUDIT_RETENTION: durations,
  REGISTRATION: ['SENTINEL', 'Open', 'true', 'no', 'confirmed'],
  PUBLIC_URL: ['SENTINEL', 'ftp://SENTINEL', 'http://', 'example.com', 'javascript:SENTINEL'],
  APP_URL: [
    'SENTINEL',
    'ftp://SENTINEL',
    'https://',
    'app.example.com',
    'https://app.example.com/#SENTINEL',
    'https://app.example.com/a b'
  ],
  PAGES: ['SENTINEL', 'yes', '1', 'TRUE'],
  APP_NAME: ['SENTINEL\n', ' SENTINEL', 'SENTINEL\u202e', 'x'.repeat(65)],
  APP_LOGO: [
    'SENTINEL', 'http://SENTINEL', 'https://', '//SENTINEL', '/\\SENTINEL', '/a b', 'javascript:SENTINEL', 'data:text/html,SENTINEL',
    'https://SENTINEL"onerror='
  ],
  APP_COLOR: ['SENTINEL', 'red', '#fff', '#12345g', '123456', '#1234567'],
  SMTP_URL: [
    'SENTINEL', 'http://SENTINEL', 'smtp://', 'smtp:SENTINEL', 'mail.example.com:25', 'smtp://user:SENTINEL@mail.example.com/path', 'smtp://user:SENTINEL@mail.example.com:99999', 'smtp://user:%SENTINEL@mail.example.com',
    'smtp://user:SENTINEL@mail.example.com?tls=no', 'smtp://mail.example.com?pool=true', 'smtp://mail.example.com?tls=off&tls=required', 'smtps://mail.example.com?tls=off', 'smtp://mail.example.com#SENTINEL'
  ],
  SMTP_URL_FILE: files,
  SMTP_NAME: ['SENTINEL.', '-SENTINEL', 'SENTINEL relay', '[SENTINEL]', 'SENTINEL\r\nRSET'],
  MAIL_FROM: [
    'SENTINEL',
    'Latchkey',
    'Latchkey auth@example.com',
    'a@b@c',
    'a@example.com, SENTINEL@example.com',
    'Latchkey <a@example.com',
    'Latchkey <a@example.com>, b@example.com',
    'Latchkey <a@example.com>\nBcc: SENTINEL@example.com',
    '"SENTINEL" <a@example.com>'
  ],
  METRICS_PORT: ['SENTINEL', '-1', '65536', 'on'],
  LOG_LEVEL: ['SENTINEL', 'INFO', '30', 'verbose']
}

t.test('each variable is checked; the message has its name and not its value', async t => {
  for (const [name, values] of Object.entries(bad)) {
    for (const value of values) {
      const message = refusal(t, { [name]: value })
      t.same(
        named(message).filter(other => other === name || !/must be at least|needs REDIS_URL/.test(message)),
        [name],
        `${name}=${JSON.stringify(value)}: ${message}`
      )
      t.notMatch(message, /(?<!REDIS_)SENTINEL/, 'the value is not in it')
      t.notMatch(message, '\n', 'one line')
    }
  }
})

t.test('every variable that can be invalid is tried above', async t => {
  const free = ['NODE_ENV', 'HOST', 'DATA_DIR', 'REDIS_CA_FILE']
  t.same(Object.keys(bad).sort(), Object.keys(environmentSchema.properties).filter(name => !free.includes(name)).sort())
})

t.test('all invalid variables are named at once, whichever check finds them', async t => {
  const first = Object.fromEntries(Object.entries(bad).map(([name, values]) => [name, values[0] as string]))
  t.same(named(refusal(t, first)), Object.keys(bad).sort())
  const last = Object.fromEntries(Object.entries(bad).map(([name, values]) => [name, values.at(-1) as string]))
  t.same(named(refusal(t, last)), Object.keys(bad).sort())
})

t.test('the defaults match the contract', async t => {
  t.match(loadConfig({}), {
    production: false, host: '127.0.0.1', port: 3000, drainDelaySeconds: 2, databaseUrl: undefined, databasePool: 10, dataDir: '.latchkey', redis: undefined, redisKeyPrefix: 'lk:',
    secondFactor: 'optional', sessionLimit: 1, tokenTtlSeconds: 30 * 86_400, sessionTtlSeconds: 30 * 86_400, cacheTtlSeconds: 300, bcryptCost: 12, passwordMinLength: 8, breachedPasswordsUrl: undefined,
    loginLimit: { points: 5, seconds: 60 }, addressLimit: { points: 300, seconds: 60 }, trustProxy: [], corsOrigins: [],
    pruneSchedule: '0 2 * * *', pruneTimezone: 'UTC', pruneRetentionSeconds: 7 * 86_400, registration: 'open', publicUrl: undefined, appUrl: undefined, pages: true, appName: 'Latchkey', appLogo: undefined, appColor: '#1d5fa6', smtp: null, mailFrom: 'latchkey@localhost', upstash: null, edgeTtlSeconds: 30, metricsPort: undefined, logLevel: 'info'
  })
})

t.test('an empty variable counts as unset', async t => {
  t.same(loadConfig(Object.fromEntries(Object.keys(environmentSchema.properties).map(name => [name, '']))), loadConfig({}))
})

t.test('variables of other programs are ignored', async t => {
  t.same(loadConfig({ PATH: '/bin', port: 'x', LATCHKEY: 'x', constructor: 'x', toString: 'x' }), loadConfig({}))
})

t.test('each variable is read into the configuration', async t => {
  t.match(loadConfig({
    NODE_ENV: 'production', HOST: '::', PORT: '0', DRAIN_DELAY: '0', DATABASE_URL: 'postgresql://a:b@db.example:5433/x?sslmode=require', DATABASE_POOL: '1000', REDIS_URL: 'rediss://u:p@redis.example:6380/2', REDIS_KEY_PREFIX: 'my:',
    SECOND_FACTOR: 'admins', SESSION_LIMIT: '0', SESSION_DATA_LIMIT: '0', WRITE_LIMIT: '0', TOKEN_TTL: '90m', SESSION_TTL: '36500d', CACHE_TTL: '1500ms', BCRYPT_COST: '15', BREACHED_PASSWORDS_URL: 'https://pwned.example/range/', LOGIN_LIMIT: '10/24d', ADDRESS_LIMIT: '0', TRUST_PROXY: '10.0.0.0/8, ::1 ,192.0.2.1/32,fd00::/8', CORS_ORIGINS: 'https://a.example,http://b.example:8080',
    UPSTASH_REDIS_REST_URL: 'https://name.upstash.io/', UPSTASH_REDIS_REST_TOKEN: 'AX_y-z==', EDGE_TTL: '5m',
    PRUNE_SCHEDULE: '*/5 * * * *', PRUNE_TIMEZONE: 'Europe/Berlin', PRUNE_RETENTION: '1h', AUDIT_RETENTION: '30d', REGISTRATION: 'closed', PUBLIC_URL: 'https://auth.example', APP_URL: 'https://app.example/account?x=1', PAGES: 'false', APP_NAME: 'Our „Tools“', APP_LOGO: 'https://cdn.example/logo.svg', APP_COLOR: '#Ff8800', SMTP_URL: 'smtps://ada%40example.com:p%40ss@mail.example', MAIL_FROM: 'Our Service <auth@mail.example>', METRICS_PORT: '9464', LOG_LEVEL: 'silent'
  }), {
    production: true, host: '::', port: 0, drainDelaySeconds: 0, databaseUrl: 'postgresql://a:b@db.example:5433/x?sslmode=require', databasePool: 1000, redis: {
      mode: 'server',
      tls: true,
      username: 'u',
      password: 'p',
      address: { host: 'redis.example', port: 6380 },
      db: 2,
      caFile: undefined
    }, redisKeyPrefix: 'my:',
    secondFactor: 'admins', sessionLimit: 0, sessionDataLimit: null, writeLimit: null, tokenTtlSeconds: 5_400, sessionTtlSeconds: 36_500 * 86_400, cacheTtlSeconds: 1.5, bcryptCost: 15, breachedPasswordsUrl: 'https://pwned.example/range/', loginLimit: {
      points: 10,
      seconds: 24 * 86_400
    }, addressLimit: null, trustProxy: [
      '10.0.0.0/8',
      '::1',
      '192.0.2.1/32',
      'fd00::/8'
    ], corsOrigins: ['https://a.example', 'http://b.example:8080'],
    upstash: { url: 'https://name.upstash.io', token: 'AX_y-z==' }, edgeTtlSeconds: 300,
    pruneSchedule: '*/5 * * * *', pruneTimezone: 'Europe/Berlin', pruneRetentionSeconds: 3_600, auditRetentionSeconds: 30 * 86_400, registration: 'closed', publicUrl: 'https://auth.example', appUrl: 'https://app.example/account?x=1', pages: false, appName: 'Our „Tools“', appLogo: 'https://cdn.example/logo.svg', appColor: '#Ff8800',
    smtp: {
      host: 'mail.example',
      port: 465,
      tls: 'implicit',
      user: 'ada@example.com',
      password: 'p@ss'
    }, mailFrom: 'Our Service <auth@mail.example>', metricsPort: 9464, logLevel: 'silent'
  })
})

t.test('PUBLIC_URL is what paths are appended to, however it is written', async t => {
  for (const [given, expected] of [
    ['https://auth.example.com', 'https://auth.example.com'],
    ['https://auth.example.com/', 'https://auth.example.com'],
    ['https://Auth.example.com:443//', 'https://auth.example.com'],
    ['http://localhost:3000/base/', 'http://localhost:3000/base'],
    ['https://auth.example.com/base//?x#y', 'https://auth.example.com/base']
  ] as const) t.equal(loadConfig({ PUBLIC_URL: given }).publicUrl, expected, given)
})

t.test('a secret may be read from a file', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-secrets-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = (content: string | Buffer): string => {
    const path = join(folder, `${Math.random()}`)
    writeFileSync(path, content, { mode: 0o400 })
    return path
  }
  const database = 'postgres://a:b@db.example/x'

  t.test('whose content is used as the value, with or without a trailing newline', async t => {
    for (const content of [
      database,
      `${database}\n`,
      `${database}\r\n`
    ]) t.same(loadConfig({ DATABASE_URL_FILE: file(content) }), loadConfig({ DATABASE_URL: database }))
    t.same(
      loadConfig({
        REDIS_URL_FILE: file('redis://:p@mymaster\n'),
        REDIS_SENTINELS_FILE: file('redis://:q@s1,redis://:q@s2\n'),
        SMTP_URL_FILE: file('smtps://u:p@mail.example\n'),
        UPSTASH_REDIS_REST_URL: 'https://name.upstash.io',
        UPSTASH_REDIS_REST_TOKEN_FILE: file('AXwrite==\n')
      }),
      loadConfig({
        REDIS_URL: 'redis://:p@mymaster',
        REDIS_SENTINELS: 'redis://:q@s1,redis://:q@s2',
        SMTP_URL: 'smtps://u:p@mail.example',
        UPSTASH_REDIS_REST_URL: 'https://name.upstash.io',
        UPSTASH_REDIS_REST_TOKEN: 'AXwrite=='
      })
    )
    t.match(loadConfig({ DATABASE_URL_FILE: '', DATABASE_URL: database }), { databaseUrl: database }, 'an empty file name counts as unset')
  })

  t.test('and a bad file is refused with the name of its variable, without its path or content', async t => {
    for (const [content, reason] of [
      ['', /DATABASE_URL_FILE must be a file that is not empty/],
      ['\n', /DATABASE_URL_FILE must be a file that is not empty/],
      [`${database}\n\n`, /DATABASE_URL_FILE must be a file of one line/],
      [`# SENTINEL\n${database}\n`, /DATABASE_URL_FILE must be a file of one line/],
      [`${database}\0`, /DATABASE_URL_FILE must be a file of one line/],
      [Buffer.from([0x70, 0xff]), /DATABASE_URL_FILE must be a file of UTF-8/],
      [`${database}?x=${'x'.repeat(70_000)}`, /DATABASE_URL_FILE must be a file of at most 65536 bytes/],
      ['mysql://u:SENTINEL@db/x', /DATABASE_URL \(of DATABASE_URL_FILE\) must begin with postgres:/],
      ['postgres://[SENTINEL/x', /DATABASE_URL \(of DATABASE_URL_FILE\) must have .* IPv6/]
    ] as const) {
      const message = refusal(t, { DATABASE_URL_FILE: file(content) })
      t.match(message, reason)
      t.notMatch(message, 'SENTINEL')
      t.notMatch(message, folder)
    }
    t.match(refusal(t, { REDIS_SENTINELS_FILE: file('redis://s1') }), /REDIS_SENTINELS \(of REDIS_SENTINELS_FILE\) needs REDIS_URL/)
  })

  t.test('but not if the variable itself is set too', async t => {
    for (const name of ['DATABASE_URL', 'REDIS_URL', 'REDIS_SENTINELS', 'SMTP_URL']) {
      t.match(
        refusal(t, { REDIS_URL: 'redis://a', [name]: bad[name]?.at(-1) ?? '', [`${name}_FILE`]: file('SENTINEL') }),
        `${name} and ${name}_FILE must not both be set`
      )
    }
  })
})

t.test('VAULT_KEYS_FILE has a key a line; what is wrong is told by the number of the line, without what stands in it', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-vault-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'keys')
  const read = (text: string) => {
    writeFileSync(file, text)
    return { VAULT_KEYS_FILE: file }
  }
  const key = (byte: number) => Buffer.alloc(32, byte)
  const line = (id: string, byte = 1) => `${id}:${key(byte).toString('base64')}`
  t.same(loadConfig(read(`# since November\n${line('2026-11', 2)}\r\n\n${line('2026-05')}`)).vaultKeys, [
    { id: '2026-11', key: key(2) },
    { id: '2026-05', key: key(1) }
  ])
  t.same(loadConfig({}).vaultKeys, [])
  for (const [text, problem] of [
    ['', 'VAULT_KEYS_FILE must have a key'],
    ['# SENTINEL\n', 'VAULT_KEYS_FILE must have a key'],
    [`${line('1')}\nSENTINEL:c2hvcnQ=\n`, 'VAULT_KEYS_FILE line 2 must be id:base64 of 32 bytes'],
    [`SENTINEL ${line('1')}\n`, 'VAULT_KEYS_FILE line 1 must be id:base64 of 32 bytes'],
    [`${line('1')}SENTINEL\n`, 'VAULT_KEYS_FILE line 1 must be id:base64 of 32 bytes'],
    [`1:${key(255).toString('base64url')}\n`, 'VAULT_KEYS_FILE line 1 must be id:base64 of 32 bytes'],
    [`${line('SENTINEL')}\n${line('SENTINEL', 2)}\n`, 'VAULT_KEYS_FILE line 2 has the id of an earlier line']
  ] as const) {
    const message = refusal(t, read(text))
    t.match(message, problem)
    t.notMatch(message, 'SENTINEL')
    t.notMatch(message, folder)
  }
  t.match(refusal(t, { ...read('x'), PORT: 'x' }), /VAULT_KEYS_FILE line 1.*PORT/s, 'together with what is wrong elsewhere')
})

t.test('mail is sent over TLS unless the server is local or the URL says otherwise', async t => {
  const smtp = (url: string) => loadConfig({ SMTP_URL: url }).smtp
  t.same(smtp('smtp://mail.example'), { host: 'mail.example', port: 587, tls: 'required', user: null, password: null })
  t.match(smtp('smtp://mail.example:25?tls=off'), { port: 25, tls: 'off' })
  t.match(smtp('smtp://10.0.0.7:25'), { tls: 'required' })
  for (const host of [
    'localhost',
    '127.0.0.1',
    '[::1]'
  ]) t.match(smtp(`smtp://${host}:25`), { host: host.replace(/[[\]]/g, ''), tls: 'off' })
  t.match(smtp('smtp://localhost:25?tls=required'), { tls: 'required' })
  t.match(smtp('smtps://localhost?tls=required'), { tls: 'implicit' })
})

t.test('hints for edges need URL and token, and sessions that do not end before their use is seen', async t => {
  const url = { UPSTASH_REDIS_REST_URL: 'https://name.upstash.io' }
  const both = { ...url, UPSTASH_REDIS_REST_TOKEN: 'x' }
  t.match(refusal(t, url), /UPSTASH_REDIS_REST_URL needs UPSTASH_REDIS_REST_TOKEN$/)
  t.match(refusal(t, { UPSTASH_REDIS_REST_TOKEN: 'SENTINEL' }), /UPSTASH_REDIS_REST_TOKEN needs UPSTASH_REDIS_REST_URL$/)
  t.match(refusal(t, { UPSTASH_REDIS_REST_URL: 'rediss://default:SENTINEL@x' }), /must be the REST URL, which begins with https:/)
  t.match(refusal(t, { ...both, SESSION_IDLE_TTL: '90s', EDGE_TTL: '46s' }), /SESSION_IDLE_TTL must be at least twice EDGE_TTL/)
  t.match(loadConfig({ ...both, SESSION_IDLE_TTL: '90s', EDGE_TTL: '45s' }), { edgeTtlSeconds: 45 })
  t.match(loadConfig({ SESSION_IDLE_TTL: '90s', EDGE_TTL: '5m' }), { upstash: null }, 'without hints it does not matter')
  t.match(loadConfig({ ...both, UPSTASH_REDIS_REST_URL: 'http://127.0.0.1:8079//' }).upstash, { url: 'http://127.0.0.1:8079' })
})

t.test('the default sender is an address on our own host', async t => {
  t.equal(loadConfig({ PUBLIC_URL: 'https://api.example.com:8443/x' }).mailFrom, 'latchkey@api.example.com')
  t.equal(loadConfig({ APP_URL: 'https://app.example.com' }).mailFrom, 'latchkey@app.example.com')
  t.equal(loadConfig({ PUBLIC_URL: 'http://192.0.2.1' }).mailFrom, 'latchkey@localhost')
  t.equal(loadConfig({ MAIL_FROM: 'no-reply@example.com' }).mailFrom, 'no-reply@example.com')
})

t.test('REDIS_URL is one server, a master watched by Sentinels, or a cluster; each mode names what it does not allow', async t => {
  const read = (env: Record<string, string>) => loadConfig(env).redis
  t.match(
    read({ REDIS_URL: 'redis://[::1]' }),
    { mode: 'server', tls: false, username: undefined, password: undefined, address: { host: '::1', port: 6379 }, db: 0 }
  )
  t.match(
    read({ REDIS_URL: 'rediss://u:%2C%23%40@a:1, rediss://u:%2C%23%40@b', REDIS_CA_FILE: '/ca.pem' }),
    {
      mode: 'cluster',
      tls: true,
      username: 'u',
      password: ',#@',
      caFile: '/ca.pem',
      seeds: [{ host: 'a', port: 1 }, { host: 'b', port: 6379 }]
    }
  )
  t.match(read({ REDIS_URL: 'redis://:p@my_Master/3', REDIS_SENTINELS: 'rediss://:q@s1,rediss://:q@s2:5' }), {
    mode: 'sentinel', name: 'my_Master', tls: false, password: 'p', db: 3, sentinels: [
      { host: 's1', port: 26379 },
      { host: 's2', port: 5 }
    ], sentinelAccess: { tls: true, password: 'q', username: undefined }
  })
  for (const [env, message] of [
    [{ REDIS_SENTINELS: 'redis://s1' }, /REDIS_SENTINELS needs REDIS_URL, whose host is the name/],
    [{ REDIS_SENTINELS: 'redis://s1', REDIS_URL: 'redis://a,redis://b' }, /REDIS_URL must be one URL when REDIS_SENTINELS is set/],
    [{ REDIS_SENTINELS: 'redis://s1', REDIS_URL: 'redis://mymaster:6379' }, /REDIS_URL must have no port when REDIS_SENTINELS is set/],
    [{ REDIS_SENTINELS: 'redis://s1/1', REDIS_URL: 'redis://mymaster' }, /REDIS_SENTINELS must name no database/],
    [
      { REDIS_SENTINELS: 'redis://s1,rediss://s2', REDIS_URL: 'redis://mymaster' },
      /REDIS_SENTINELS must have the same scheme, user and password/
    ],
    [{ REDIS_URL: 'redis://a/1,redis://b/1' }, /REDIS_URL must name no database/],
    [{ REDIS_URL: 'redis://a', REDIS_CA_FILE: '/ca.pem' }, /REDIS_CA_FILE needs rediss:/],
    [{ REDIS_CA_FILE: '/ca.pem' }, /REDIS_CA_FILE needs rediss:/]
  ] as const) t.match(refusal(t, env), message)
})

t.test('the configuration is frozen', async t => {
  const config = loadConfig({})
  t.throws(() => { (config as { port: number }).port = 1 }, TypeError)
})

t.test('.env.example has the same keys and the defaults', async t => {
  const file = new URL('../../.env.example', import.meta.url)
  if (!existsSync(file)) return t.comment('there is none yet')
  const text = readFileSync(file, 'utf8')
  t.same(
    [...text.matchAll(/^#? ?([A-Z][A-Z_]+)=/gm)].map(([, key]) => key).sort(),
    Object.keys(environmentSchema.properties).sort(),
    'each once'
  )
  t.same(loadConfig(parseEnv(text) as Record<string, string>), loadConfig({}))
})

t.test('config:check shows every variable with its source, and masks what is secret', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-check-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const file = join(dir, 'smtp')
  writeFileSync(file, 'smtps://mailer:HIDDEN@mail.example.com\n')
  const shown = (env: Record<string, string>) => {
    const found = checkConfig(env)
    t.strictSame(found.problems, [])
    t.notMatch(JSON.stringify({ ...found, config: null }), /HIDDEN/)
    return { ...found, values: Object.fromEntries(found.variables.map(({ name, value, source }) => [name, [value, source]])) }
  }
  const { values, uses, warnings } = shown({
    DATABASE_URL: 'postgres://latchkey:HIDDEN@db.example.com:6432/auth?sslmode=require&password=HIDDEN&options=HIDDEN',
    REDIS_URL: 'rediss://lk:HIDDEN@one:7000,rediss://lk:HIDDEN@two:7001',
    SMTP_URL_FILE: file,
    BREACHED_PASSWORDS_URL: 'https://key:HIDDEN@breaches.example.com/range/',
    DATA_DIR: dir,
    UPSTASH_REDIS_REST_URL: 'https://name.upstash.io',
    UPSTASH_REDIS_REST_TOKEN: 'HIDDEN==',
    PORT: '0',
    BCRYPT_COST: '4',
    MAIL_FROM: ''
  })
  t.match(values, {
    DATABASE_URL: ['postgres://latchkey:***@db.example.com:6432/auth?sslmode=require&password=***&options=***', 'environment'],
    REDIS_URL: ['rediss://lk:***@one:7000,rediss://lk:***@two:7001', 'environment'],
    SMTP_URL: ['smtps://mailer:***@mail.example.com', 'file'],
    SMTP_URL_FILE: [file, 'environment'],
    BREACHED_PASSWORDS_URL: ['https://key:***@breaches.example.com/range/', 'environment'],
    UPSTASH_REDIS_REST_URL: ['https://name.upstash.io', 'environment'],
    UPSTASH_REDIS_REST_TOKEN: ['***', 'environment'],
    EDGE_TTL: ['30s', 'default'],
    PORT: ['0', 'environment'],
    HOST: ['127.0.0.1', 'default'],
    MAIL_FROM: [null, 'default']
  })
  t.same(Object.keys(values), Object.keys(environmentSchema.properties), 'all of them, in one order')
  t.same(uses, {
    database: 'auth at db.example.com:6432',
    cache: 'Redis Cluster, found at one:7000, two:7001',
    mail: 'SMTP at mail.example.com:465, TLS implicit, from latchkey@localhost'
  })
  t.match(warnings, [/^BCRYPT_COST=4 is for tests/])
  t.match(shown({ REDIS_URL: 'redis://HIDDEN@localhost' }).values.REDIS_URL, ['redis://***@localhost', 'environment'])
  t.match(shown({ REDIS_URL: 'redis://:hid%2FdenHIDDEN@[::1]' }), { values: { REDIS_URL: ['redis://:***@[::1]'] }, uses: { cache: 'Redis at [::1]:6379, database 0' } })
  t.match(shown({ DATA_DIR: dir }).uses, { database: `embedded in ${dir}`, cache: 'in the process', mail: `files in ${join(dir, 'mail')}` })
  t.match(shown({ DATABASE_URL: 'postgres://root@localhost/a' }), { values: { DATABASE_URL: ['postgres://root@localhost/a'] }, uses: { cache: /none/ } })

  t.match(checkConfig({ PORT: 'x', LOG_LEVEL: 'loud' }), { config: null, problems: [/^PORT/, /^LOG_LEVEL/], uses: null, variables: [] })
  t.match(checkConfig({ NODE_ENV: 'production' }).problems, [/needs DATABASE_URL/, /needs SMTP_URL/], 'valid, but no server starts')
  for (const policy of ['admins', 'everyone']) {
    const { problems } = checkConfig({ SECOND_FACTOR: policy, DATABASE_URL: 'postgres://db.example/x' })
    t.match(problems, [`SECOND_FACTOR=${policy} needs VAULT_KEYS_FILE`], 'else nobody could enrol')
    t.same(checkConfig({ SECOND_FACTOR: policy }).problems, [], 'the embedded database makes its keys')
  }
})
