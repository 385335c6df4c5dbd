import { mkdtempSync, rmSync } from 'node:fs'
import { connect as connectSocket, createServer } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ConfigError, loadConfig } from '../../src/config/config.js'
import { nameDatabase } from '../../src/config/names.js'
import { findPostgresProblem, readPostgresUrl } from '../../src/config/postgres.js'
import { explainDatabase } from '../../src/database/open.js'
import { createPostgres } from '../../src/database/postgres.js'
import { skipMissing } from '../fixtures/app.js'
import { findPostgres } from '../fixtures/servers.js'

/** What a URL means, without what has its default value. */
function read (url: string): object | null {
  const defaults: Record<string, unknown> = {
    host: 'localhost', port: 5432, tls: null, prepare: true, applicationName: 'latchkey', connectTimeoutSeconds: 3
  }
  const address = readPostgresUrl(url)
  return address === null
    ? null
    : Object.fromEntries(Object.entries(address).filter(([name, value]) => value !== undefined && value !== defaults[name]))
}

const verified = { checksName: true, rootFile: undefined, certFile: undefined, keyFile: undefined }

t.test('a URL means what it means to libpq', t => {
  const means: Array<[url: string, meaning: object]> = [
    ['postgres://u:p@db.example:5433/auth', { host: 'db.example', port: 5433, user: 'u', password: 'p', database: 'auth' }],
    ['postgresql://u:p@db.example/auth', { host: 'db.example', user: 'u', password: 'p', database: 'auth' }],
    ['  postgres://u@h/d\n', { host: 'h', user: 'u', database: 'd' }],
    ['postgres://', {}],
    ['postgres:///auth', { database: 'auth' }],
    ['postgres://ada@h', { host: 'h', user: 'ada', database: 'ada' }],
    ['postgres://u:@h/', { host: 'h', user: 'u', password: '', database: 'u' }],
    ['postgres://a%40b:p%25%2F%3A%23%3f%20@h/a%2Fb', { host: 'h', user: 'a@b', password: 'p%/:#? ', database: 'a/b' }],
    ['postgres://u@server:a:b+c@h:/d', { host: 'h', user: 'u@server', password: 'a:b+c', database: 'd' }],
    ['postgres://u@[::1]/d', { host: '::1', user: 'u', database: 'd' }],
    ['postgres://u@[2001:db8::7]:6432/d', { host: '2001:db8::7', port: 6432, user: 'u', database: 'd' }],
    ['postgres://u@%2Fvar%2Frun%2Fpostgresql:5433/d', { host: '/var/run/postgresql', port: 5433, user: 'u', database: 'd' }],
    ['postgres://u@/d?host=/var/run/postgresql', { host: '/var/run/postgresql', user: 'u', database: 'd' }],
    ['postgres:///d?host=/cloudsql/a:b:c&port=6000&user=u&password=p', { host: '/cloudsql/a:b:c', port: 6000, user: 'u', password: 'p', database: 'd' }],
    ['postgres://h/d?host=other&dbname=e', { host: 'other', database: 'e' }],
    ['postgres://u@h/d?sslmode=disable', { host: 'h', user: 'u', database: 'd' }],
    ['postgres://h/d?sslmode=require&channel_binding=require', { host: 'h', database: 'd', tls: verified }],
    ['postgres://h/d?sslmode=verify-ca&sslrootcert=/ca', { host: 'h', database: 'd', tls: { ...verified, checksName: false, rootFile: '/ca' } }],
    ['postgres://h/d?sslcert=/c&sslkey=/k&sslrootcert=system', { host: 'h', database: 'd', tls: { ...verified, certFile: '/c', keyFile: '/k' } }],
    ['postgres://h/d?ssl=true', { host: 'h', database: 'd', tls: verified }],
    ['postgres://h/d?ssl=false', { host: 'h', database: 'd' }],
    ['postgres:///d?host=/tmp&sslmode=require', { host: '/tmp', database: 'd' }],
    ['postgres://h/d?pgbouncer=true', { host: 'h', database: 'd', prepare: false }],
    ['postgres://h/d?prepare=false', { host: 'h', database: 'd', prepare: false }],
    ['postgres://h/d?pgbouncer=false&prepare=true', { host: 'h', database: 'd' }],
    ['postgres://h/d?application_name=auth%20api', { host: 'h', database: 'd', applicationName: 'auth api' }],
    ['postgres://h/d?fallback_application_name=x', { host: 'h', database: 'd', applicationName: 'x' }],
    ['postgres://h/d?options=endpoint%3Dep-1', { host: 'h', database: 'd', options: 'endpoint=ep-1' }],
    ['postgres://h/d?options=-c%20geqo%3Doff', { host: 'h', database: 'd', options: '-c geqo=off' }],
    ['postgres://h/d?connect_timeout=15', { host: 'h', database: 'd', connectTimeoutSeconds: 15 }]
  ]
  for (const [url, meaning] of means) {
    t.strictSame(read(url), meaning, url)
    t.equal(findPostgresProblem(url), null)
  }
  for (const without of [
    'schema=public', 'gssencmode=prefer', 'gssencmode=disable', 'target_session_attrs=read-write', 'target_session_attrs=any',
    'target_session_attrs=primary', 'load_balance_hosts=disable', 'keepalives=1&keepalives_idle=30', 'sslnegotiation=postgres',
    'channel_binding=prefer'
  ]) t.strictSame(read(`postgres://h/d?${without}`), { host: 'h', database: 'd' }, without)
  t.end()
})

t.test('what cannot be meant is refused in one sentence, with the parameter and without any value', t => {
  const refused: Array<[url: string, reason: RegExp]> = [
    ['SENTINEL', / must begin with postgres:\/\/ or postgresql:\/\/$/],
    ['jdbc:postgresql://h/SENTINEL', / must begin with/],
    ['psql postgres://u:SENTINEL@h/d', / must begin with/],
    ['"postgres://u:SENTINEL@h/d"', / must begin with/],
    ['postgres://u:SENTINEL@a:1,b:2/d', / must name one host: of several, a DNS name/],
    ['postgres://u:SENTINEL@[::1]:1,[::2]/d', / must name one host/],
    ['postgres:///d?host=/tmp,SENTINEL', / must name one host/],
    ['postgres://h/d?port=1,2', / must name one host/],
    ['postgres://u:SENTI/NEL@h/d', / must have no @, \/ or \? in user, password or query: write them as %40, %2F and %3F/],
    ['postgres://u:SENTI?NEL@h/d', / must have no @, /],
    ['postgres://u:SENTI#NEL@h/d', / must have no #: write it as %23/],
    ['postgres://u:SENTI%NEL@h/d', / has a % that is not part of a percent-encoding: write it as %25/],
    ['postgres://u:SENTI NEL@h/d', / must have no spaces: write them as %20/],
    ['postgres://u:SENTI%00NEL@h/d', / must have no control characters/],
    ['postgres://h/d?options=SENTI%0aNEL', / must have no control characters/],
    ['postgres://u:SENTINEL@::1/d', / must have one colon before the port, and an IPv6 address in brackets, like \[::1\]:5432/],
    ['postgres://u:SENTINEL@[::1/d', /.* in brackets/],
    ['postgres://u:SENTINEL@[::g]/d', / must have the name or address of a host/],
    ['postgres:///d?host=h:5432', / must have the name or address of a host/],
    ['postgres://u:SENTINEL@h:0/d', / must have a port from 1 to 65535/],
    ['postgres://u:SENTINEL@h:65536/d', / must have a port/],
    ['postgres://h:SENTINEL/d', / must have a port/],
    ['postgres://h/d?SENTINEL', / has something after the \? that is not like name=value/],
    ['postgres://h/d?SENTINEL-1=x', / has something after the \?/],
    ['postgres://h/d?nosuch=SENTINEL', /: nosuch is not supported$/],
    ['postgres://h/d?sslmode=require&sslmode=SENTINEL', /: sslmode is given twice/],
    ['postgres://h/d?schema=SENTINEL', /: schema must be public: set DATABASE_SCHEMA/],
    ['postgres://h/d?sslmode=prefer', /: sslmode must be one of disable, require, verify-ca, verify-full/],
    ['postgres://h/d?sslmode=no-verify', /: sslmode must be one of/],
    ['postgres://h/d?ssl=SENTINEL', /: ssl must be true or false/],
    ['postgres://h/d?ssl=true&sslmode=disable', /: ssl and sslmode contradict each other/],
    ['postgres://h/d?sslrootcert=', /: sslrootcert must be the path of a file/],
    ['postgres://h/d?sslcrl=/SENTINEL', /: sslcrl is not supported/],
    ['postgres://h/d?channel_binding=require', /: channel_binding=require needs sslmode=require or verify-full/],
    ['postgres://h/d?channel_binding=require&sslmode=verify-ca', /: channel_binding=require needs/],
    ['postgres://h/d?channel_binding=SENTINEL', /: channel_binding must be/],
    ['postgres://h/d?gssencmode=require', /: gssencmode must be disable or prefer/],
    ['postgres://h/d?target_session_attrs=standby', /: target_session_attrs must be any, read-write or primary/],
    ['postgres://h/d?load_balance_hosts=random', /: load_balance_hosts must be disable/],
    ['postgres://h/d?connect_timeout=0', /: connect_timeout must be a number of seconds from 1 to 60/],
    ['postgres://h/d?application_name=%C5%81', /: application_name must have/],
    ['postgres://h/d?pgbouncer=SENTINEL', /: pgbouncer must be true or false/],
    ['postgres://h/d?pgbouncer=true&connection_limit=1', /: connection_limit is not supported; set DATABASE_POOL/],
    ['postgres://h/d?statement_timeout=0', /: statement_timeout is not supported; the time is fixed/],
    ['postgres://h/d?search_path=SENTINEL', /: search_path is not supported/],
    ['postgres://h/d?hostaddr=127.0.0.1', /: hostaddr is not supported; give the address as the host/],
    ['postgres://h/d?constructor=SENTINEL', /: constructor is not supported$/]
  ]
  for (const [url, reason] of refused) {
    t.equal(readPostgresUrl(url), null, url)
    const found = findPostgresProblem(url) ?? ''
    t.match(found, new RegExp(`^DATABASE_URL${reason.source}`))
    t.notMatch(found, /SENTI|NEL\b|\n/)
    t.throws(() => loadConfig({ DATABASE_URL: url }), new ConfigError(`Invalid environment: ${found}`))
  }
  t.end()
})

t.test('the database is named without user and password, wherever it is', t => {
  const named = (databaseUrl: string) => nameDatabase({ databaseUrl, databaseSchema: 'public', dataDir: '' })
  t.equal(named('postgres://u:p@db.example/auth?sslmode=require'), 'auth at db.example:5432')
  t.equal(named('postgres://u:p@[::1]:6432/auth'), 'auth at [::1]:6432')
  t.equal(named('postgres://u:p@/auth?host=/var/run/postgresql'), 'auth at /var/run/postgresql, port 5432')
  t.equal(named('postgres://u:p@h'), 'u at h:5432')
  t.equal(named('postgres://h?password=p'), '(named like its user) at h:5432')
  t.end()
})

/** Listens at `path`, or on a port of `address`, and passes everything on to the server of `url`. */
async function relay (t: Test, url: string, at: { path: string } | { address: string }): Promise<number> {
  const { host, port } = readPostgresUrl(url) as { host: string, port: number }
  const relaying = createServer(socket => {
    const server = connectSocket(port, host)
    for (const [one, other] of [[socket, server], [server, socket]] as const) one.on('error', () => other.destroy()).pipe(other)
  })
  await new Promise<void>((resolve, reject) => {
    relaying.once('error', reject)
    if ('path' in at) relaying.listen(at.path, resolve)
    else relaying.listen(0, at.address, resolve)
  })
  t.teardown(() => { relaying.close() })
  const address = relaying.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

t.test('what people paste connects', async t => {
  const server = await findPostgres()
  if (server === null) return skipMissing(t, 'needs PostgreSQL: install and start it, or set TEST_DATABASE_URL')
  const { user = '', password = '', host, port } = readPostgresUrl(server) as { user?: string, password?: string, host: string, port: number }
  const login = `${encodeURIComponent(user)}:${encodeURIComponent(password)}`

  async function ask (url: string, statement: string): Promise<unknown> {
    t.equal(findPostgresProblem(url), null)
    const database = createPostgres(url, 1)
    try {
      return (await database.prepared<{ answer: string }>(statement, []))[0]?.answer
    } catch (error) {
      return (explainDatabase(loadConfig({ DATABASE_URL: url }), error) as Error).message
    } finally {
      await database.close()
    }
  }
  const connects = async (t: Test, url: string) => t.equal(await ask(url, 'select current_database() as answer'), 'postgres', url.replace(login, 'u'))
  const setting = (name: string) => `select current_setting('${name}') as answer`

  t.test('with the parameters of other clients', async t => {
    for (const query of [
      'pgbouncer=true', 'schema=public', 'gssencmode=disable', 'channel_binding=prefer', 'target_session_attrs=read-write',
      'application_name=shop', 'keepalives=1', 'connect_timeout=10', 'ssl=false', 'sslmode=disable', ''
    ]) await connects(t, `postgresql://${login}@${host}:${port}/postgres?${query}`)
    await connects(t, `postgres:///?host=${host}&port=${port}&user=${user}&password=${encodeURIComponent(password)}&dbname=postgres`)
    t.equal(await ask(`${server}?application_name=shop`, setting('application_name')), 'shop')
    t.equal(await ask(server, setting('application_name')), 'latchkey')
  })

  t.test('with options, which cannot change what reading rows relies on', async t => {
    const options = encodeURIComponent('-c geqo=off -c search_path=pg_catalog -c bytea_output=escape -c statement_timeout=0')
    const url = `${server}?options=${options}`
    t.equal(await ask(url, setting('geqo')), 'off')
    t.equal(await ask(url, setting('search_path')), '"public"')
    t.equal(await ask(url, setting('bytea_output')), 'hex')
    t.equal(await ask(url, setting('statement_timeout')), '5s')
    t.equal(
      await ask(`${server}?options=-c%20no_such=SENTINEL`, setting('geqo')),
      `PostgreSQL at ${host}:${port} refused a setting (SQLSTATE 42704): correct options in DATABASE_URL.`
    )
  })

  t.test('through a Unix socket', async t => {
    const folder = mkdtempSync(join(tmpdir(), 'latchkey-socket-'))
    t.teardown(() => rmSync(folder, { recursive: true, force: true }))
    await relay(t, server, { path: join(folder, '.s.PGSQL.5433') })
    await connects(t, `postgres://${login}@${encodeURIComponent(folder)}:5433/postgres`)
    await connects(t, `postgres://${login}@/postgres?host=${folder}&port=5433&sslmode=require`)
    t.match(
      await ask(`postgres://${login}@/postgres?host=${folder}`, 'select 1'),
      `PostgreSQL at ${folder}, port 5432 does not answer: start it or correct DATABASE_URL.`
    )
  })

  t.test('at an IPv6 address', async t => {
    const hasIPv6 = Object.values(networkInterfaces()).flat().some(found => found?.address === '::1')
    if (!hasIPv6) return t.comment('skipped: this machine has no ::1')
    const port = await relay(t, server, { address: '::1' })
    await connects(t, `postgres://${login}@[::1]:${port}/postgres`)
  })

  await t.test('where the name of the database is missing, it is called like the user', async t => {
    t.match(
      await ask(`postgres://nobody:secret@${host}:${port}`, 'select 1'),
      /has no database named like its user: create it, or correct DATABASE_URL\.|refused the user or password of DATABASE_URL, .* \(SQLSTATE 28/
    )
  })
})
