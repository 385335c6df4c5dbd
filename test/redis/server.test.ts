import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { ConfigError, loadConfig } from '../../src/config/config.js'
import { openRedis, RedisRefusedError } from '../../src/redis/open.js'
import { becomesTrue, patienceMs, serverGround, startApp } from '../fixtures/app.js'
import { createAuthority } from '../fixtures/certificates.js'
import { freePort, hasRedisServer, type RedisServer, startRedis } from '../fixtures/servers.js'

/** One redis-server, configured as operators run it and started by the test. */

const secret = 'hidden-word'

async function server (t: Test, ...args: string[]): Promise<RedisServer> {
  const started = await startRedis({ args })
  t.teardown(() => started.kill())
  return started
}

async function tlsServer (t: Test, { cert, key }: { cert: string, key: string }, ...args: string[]): Promise<RedisServer> {
  const port = await freePort()
  const started = await startRedis({
    port,
    args: [
      '--port',
      '0',
      '--tls-port',
      String(port),
      '--tls-cert-file',
      cert,
      '--tls-key-file',
      key,
      '--tls-ca-cert-file',
      cert,
      '--tls-auth-clients',
      'no',
      ...args
    ]
  })
  t.teardown(async () => {
    await started.kill()
    rmSync(started.dir, { recursive: true, force: true })
  })
  return started
}

function admin (t: Test, { port }: RedisServer, password = secret): Redis {
  const client = new Redis({ port, host: '127.0.0.1', password })
  t.teardown(() => client.disconnect())
  return client
}

/** Redis as opened for `env`, with the lines logged. `patient`: it gets an answer in the end, however slow the machine is. */
function open (t: Test, env: Record<string, string>, { patient = true } = {}) {
  const lines: string[] = []
  const { redis: config } = loadConfig(env)
  if (config === undefined) throw new Error('REDIS_URL is missing')
  const redis = openRedis(config, { keyPrefix: 'lk:', log: { warn: (_fields, text) => { lines.push(text) } } })
  if (patient && redis.limiter instanceof Redis) redis.limiter.options.commandTimeout = patienceMs
  t.teardown(() => redis.close())
  return { ...redis, lines, connected: () => becomesTrue(() => redis.backend.connection !== null, patienceMs) }
}

/** The one line with which startup with `env` is refused. */
async function refusal (t: Test, env: Record<string, string>): Promise<string> {
  const { check, backend, close } = open(t, env)
  try {
    await check(patienceMs)
    t.fail('it is not refused')
    return ''
  } catch (error) {
    const { message } = error as Error
    t.type(error, RedisRefusedError, message)
    t.notMatch(message, secret, 'no secret in it')
    t.notMatch(message, '\n')
    t.equal(backend.connection, null, 'and no command is sent to it')
    return message
  } finally {
    close()
  }
}

t.test('one redis-server', { skip: hasRedisServer ? false : 'needs redis-server in PATH' }, async t => {
  t.test('with a password', async t => {
    const { port } = await server(t, '--requirepass', secret)
    const { check, connected, backend, lines } = open(t, { REDIS_URL: `redis://:${secret}@127.0.0.1:${port}/3` })
    await check(patienceMs)
    await connected()
    t.match((await backend.identify()).incarnation, /:3$/)
    t.strictSame(lines, [])
    t.match(
      await refusal(t, { REDIS_URL: `redis://127.0.0.1:${port}` }),
      `Redis at 127.0.0.1:${port} asks for a password: put it into REDIS_URL (NOAUTH)`
    )
    t.match(
      await refusal(t, { REDIS_URL: `redis://:${secret}2@127.0.0.1:${port}` }),
      `Redis at 127.0.0.1:${port} refuses user or password of REDIS_URL (WRONGPASS)`
    )
    t.match(await refusal(t, { REDIS_URL: `redis://:${secret}@127.0.0.1:${port}/9999` }), 'has no database 9999')
  })

  t.test('V12.3.1, V12.3.2 with a certificate, which is verified or refused', async t => {
    const dir = mkdtempSync(join(tmpdir(), 'latchkey-tls-'))
    t.teardown(() => rmSync(dir, { recursive: true }))
    const [ours, foreign] = [createAuthority(dir, 'ours'), createAuthority(dir, 'foreign')]
    const { port } = await tlsServer(t, ours.certify('DNS:localhost'), '--requirepass', secret)
    const url = `rediss://:${secret}@localhost:${port}`
    const { check, connected, backend, limiter, lines } = open(t, { REDIS_URL: url, REDIS_CA_FILE: ours.caFile })
    await check(patienceMs)
    await connected()
    t.ok((await backend.identify()).incarnation)
    t.equal(await backend.takeLease('lk:a', 'La', 60_000), null)
    t.equal(await limiter.get('lk:a'), 'La')
    t.strictSame(lines, [])

    t.match(
      await refusal(t, { REDIS_URL: url }),
      /^Redis at localhost:\d+ shows a certificate that does not verify \([A-Z_]+\): set REDIS_CA_FILE/
    )
    t.match(await refusal(t, { REDIS_URL: url, REDIS_CA_FILE: foreign.caFile }), /does not verify/)
    const before = process.env.NODE_TLS_REJECT_UNAUTHORIZED
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
    t.match(await refusal(t, { REDIS_URL: url }), /does not verify/, 'whatever the environment says')
    if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED
    else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before
    t.match(
      await refusal(t, { REDIS_URL: url.replace('localhost', '127.0.0.1'), REDIS_CA_FILE: ours.caFile }),
      /a certificate for another name .* the name it is for in REDIS_URL/
    )

    const picky = await tlsServer(t, ours.certify('DNS:localhost'), '--tls-auth-clients', 'yes')
    const uncertified = open(t, { REDIS_URL: `rediss://localhost:${picky.port}`, REDIS_CA_FILE: ours.caFile })
    // It says why, unless the connection closes before the reason arrives.
    await uncertified.check().catch((error: Error) => t.match(error.message, /cannot agree on TLS .*client certificates/))
    t.equal(uncertified.backend.connection, null)

    writeFileSync(join(dir, 'empty.pem'), 'nothing')
    for (const file of [
      'missing.pem',
      'empty.pem'
    ]) t.throws(
      () => open(t, { REDIS_URL: url, REDIS_CA_FILE: join(dir, file) }),
      { name: 'ConfigError', message: /^REDIS_CA_FILE must be a file/ }
    )
    t.throws(() => loadConfig({ REDIS_URL: url.replace('rediss:', 'redis:'), REDIS_CA_FILE: ours.caFile }), ConfigError)
  })

  t.test('with a user who has the rights that README lists, and no others', async t => {
    const [
      ,
      line
    ] = /^user latchkey on >PASSWORD (~lk:\* .*)$/m.exec(readFileSync(new URL('../../README.md', import.meta.url), 'utf8')) ?? []
    if (line === undefined) return t.fail('README has no line for the user')
    const rules = line.split(' ')
    const redis = await server(t, '--requirepass', secret, '--user', 'latchkey', 'on', `>${secret}`, ...rules)
    const root = admin(t, redis)
    const url = `redis://latchkey:${secret}@127.0.0.1:${redis.port}`
    const env = { REDIS_URL: url, REDIS_KEY_PREFIX: 'lk:' }

    const ground = await serverGround(t, { redisUrl: url })
    if (ground !== null) {
      const app = await startApp(t, { ...ground, healthy: true, prefix: 'lk:' }, { env: { ADDRESS_LIMIT: '100/1m' } })
      const { email, token } = await app.account()
      t.equal((await app.me(token)).statusCode, 200)
      t.ok(await app.cached(token), 'the cache answers')
      t.equal((await app.login(email)).statusCode, 200)
      t.equal((await app.me(token)).statusCode, 401)
      t.same(app.counters.bumps, 0, 'the entries of ended tokens were overwritten')
      await app.trusted()
      t.match((await app.call('GET', '/health/ready')).json(), { status: 'ok' })
      t.equal((await app.call('POST', '/v1/login', { body: { email, password: 'a wrong one' } })).statusCode, 401)
      t.equal((await root.keys('lk:limit:*')).length, 2, 'both limits count in Redis')
      await app.close()
    }
    const refused = await root.call('ACL', 'LOG') as string[][]
    t.same([...new Set(refused.map(entry => entry[entry.indexOf('object') + 1]))], ['config|get'], 'what is asked though it may be refused')
    const said = await overheard(t, redis.port, async port => {
      const { check } = open(t, { REDIS_URL: url.replace(String(redis.port), String(port)) })
      await check(patienceMs)
    })
    t.match(said, /\bINFO\b/)
    t.notMatch(said, /\bclient\b/i, 'nor does a newer server, which knows CLIENT SETINFO, have anything to refuse')

    for (const rule of rules.filter(rule => rule.startsWith('+'))) {
      await root.call('ACL', 'SETUSER', 'latchkey', `-${rule.slice(1)}`)
      t.match(await refusal(t, env), `grant it ${rule}`, `without ${rule}`)
      await root.call('ACL', 'SETUSER', 'latchkey', rule)
    }
    await root.call('ACL', 'SETUSER', 'latchkey', 'resetkeys', '~other:*')
    t.match(await refusal(t, env), 'grant it ~lk:*')
    await root.call('ACL', 'SETUSER', 'latchkey', 'resetkeys', '~lk:*')

    await t.test('when a right is taken away later, that is logged once and Redis is no longer trusted', async t => {
      const { check, connected, backend, lines } = open(t, env)
      await check(patienceMs)
      await connected()
      await root.call('ACL', 'SETUSER', 'latchkey', '-set', '-incrby')
      await t.rejects(backend.takeLease('lk:a', 'La', 1_000))
      t.equal(backend.connection, null)
      await becomesTrue(() => lines.length > 0, patienceMs)
      await delay(1_500)
      t.equal(backend.connection, null)
      t.strictSame(
        lines,
        [`Redis at 127.0.0.1:${redis.port} does not allow the user of REDIS_URL all commands that are needed: grant it +set +incrby; answering from the database`]
      )
      await root.call('ACL', 'SETUSER', 'latchkey', '+set', '+incrby')
      t.ok(await becomesTrue(() => backend.connection !== null, 15_000), 'once the right is granted again, Redis is used again')
      await root.call('ACL', 'SETUSER', 'latchkey', 'resetpass', '>another')
      await root.call('CLIENT', 'KILL', 'USER', 'latchkey')
      t.ok(await becomesTrue(() => lines.some(text => text.includes('WRONGPASS')), 15_000))
      t.equal(lines.length, 2)
    })
  })

  t.test('that is absent, silent or a replica does not prevent startup', async t => {
    const absent = open(t, { REDIS_URL: `redis://127.0.0.1:${await freePort()}` })
    const silent = await server(t)
    process.kill(silent.pid, 'SIGSTOP')
    const frozen = open(t, { REDIS_URL: silent.url }, { patient: false })
    const replica = await server(t, '--replicaof', '127.0.0.1', String(await freePort()))
    const following = open(t, { REDIS_URL: replica.url })
    const checked = Promise.all([absent.check(), frozen.check(), following.check()]).then(() => true)
    t.ok(await Promise.race([checked, delay(2_400, false)]), 'before long')
    for (const { lines } of [absent, frozen, following]) await becomesTrue(() => lines.length > 0, patienceMs)
    for (const { lines } of [absent, frozen]) t.strictSame(lines, ['Redis cannot be reached: answering from the database'])
    t.strictSame(following.lines, [`Redis at 127.0.0.1:${replica.port} is a replica: answering from the database`])
    t.strictSame(await following.backend.identify(), { connection: 0, incarnation: null })

    process.kill(silent.pid, 'SIGCONT')
    t.ok(await becomesTrue(() => frozen.backend.connection !== null, patienceMs))
    const root = new Redis(replica.url)
    t.teardown(() => root.disconnect())
    await root.call('REPLICAOF', 'NO', 'ONE')
    t.ok(await becomesTrue(() => following.backend.connection !== null, patienceMs), 'a promotion is noticed')
    await root.call('REPLICAOF', '127.0.0.1', String(await freePort()))
    await following.backend.identify()
    t.equal(following.backend.connection, null, 'and a demotion')
  })

  t.test('of the wrong kind or version is refused', async t => {
    const port = await pretend(t, 'redis_version:6.2.14', 'redis_mode:standalone')
    t.equal(
      await refusal(t, { REDIS_URL: `redis://127.0.0.1:${port}` }),
      `Redis at 127.0.0.1:${port} is version 6.2.14: Redis 7 or later, or Valkey, is needed`
    )
    const one = await server(t)
    t.match(await refusal(t, { REDIS_URL: `${one.url},${one.url}` }), 'belongs to no cluster')
    const clustered = await server(t, '--cluster-enabled', 'yes')
    t.match(await refusal(t, { REDIS_URL: clustered.url }), 'belongs to a cluster: name several of its servers')
  })

  t.test('or Valkey, which reports some of that under names of its own', async t => {
    const valkey = ['redis_version:7.2.4', 'server_name:valkey', 'valkey_version:8.0.1']
    const { check } = open(t, { REDIS_URL: `redis://127.0.0.1:${await pretend(t, ...valkey, 'server_mode:standalone')}` })
    await t.resolves(check(patienceMs))
    t.match(
      await refusal(t, { REDIS_URL: `redis://127.0.0.1:${await pretend(t, ...valkey, 'server_mode:cluster')}` }),
      'belongs to a cluster: name several of its servers'
    )
  })
})

/** The port of a server that answers INFO with `lines`, and every other command with OK. */
async function pretend (t: Test, ...lines: string[]): Promise<number> {
  return await pretendTo(t, {}, ...lines)
}

/** The same, with `errors` to commands by their names in lower case. */
async function pretendTo (t: Test, errors: Record<string, string>, ...lines: string[]): Promise<number> {
  const server = createServer(socket => answerAs(socket, errors, lines))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

/** What reaches the server at `port` from `work`, which is given the port of a proxy. */
async function overheard (t: Test, port: number, work: (port: number) => Promise<void>): Promise<string> {
  const heard: Buffer[] = []
  const proxy = createServer(socket => {
    const upstream = connect(port, '127.0.0.1')
    socket.on('data', chunk => heard.push(chunk)).on('error', () => {}).on('close', () => upstream.destroy())
    upstream.on('error', () => {}).on('close', () => socket.destroy())
    socket.pipe(upstream).pipe(socket)
  })
  await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve))
  t.teardown(() => proxy.close())
  await work((proxy.address() as AddressInfo).port)
  return Buffer.concat(heard).toString('latin1')
}

function answerAs (socket: Socket, errors: Record<string, string>, lines: string[]): void {
  const info = `# Server\r\n${lines.join('\r\n')}\r\nrun_id:a\r\n# Replication\r\nrole:master\r\nmaster_replid:b\r\n`
  socket.on('error', () => {}).on('data', chunk => {
    const names = [...chunk.toString().matchAll(/\*\d+\r\n\$\d+\r\n(\w+)\r\n/g)].map(([, name]) => (name as string).toLowerCase())
    for (const name of names) socket.write(
      name in errors
        ? `-${errors[name]}\r\n`
        : name === 'info'
        ? `$${Buffer.byteLength(info)}\r\n${info}\r\n`
        : name === 'hello'
        ? '-NOPROTO unsupported protocol version\r\n'
        : '+OK\r\n'
    )
  })
}

t.test('a server that would be writable as a replica is refused, and one that hides its identity is named in the log', {
  skip: hasRedisServer ? false : 'needs redis-server in PATH'
}, async t => {
  const writable = await server(t, '--replica-read-only', 'no')
  t.match(await refusal(t, { REDIS_URL: writable.url }), /has replica-read-only no.*set it to yes/)

  const plain = await server(t)
  const zeros = '0'.repeat(40)
  for (const [field, hide] of [
    ['run_id', (reply: string) => reply.replaceAll('run_id:', 'ran_id:')],
    ['run_id', (reply: string) => reply.replace(/(?<=\nrun_id:)\w{40}/, zeros)],
    ['master_replid', (reply: string) => reply.replace(/(?<=\nmaster_replid:)\w{40}/, zeros)],
    ['role', (reply: string) => reply.replace('\nrole:', '\nrule:')]
  ] as const) {
    const hiding = createServer(socket => {
      const upstream = connect(plain.port, '127.0.0.1')
      socket.pipe(upstream)
      upstream.on('data', chunk => socket.write(hide(chunk.toString('latin1')), 'latin1'))
      socket.on('close', () => upstream.destroy()).on('error', () => {})
      upstream.on('close', () => socket.destroy()).on('error', () => {})
    })
    await new Promise<void>(resolve => hiding.listen(0, '127.0.0.1', resolve))
    t.teardown(() => hiding.close())
    const { check, connected, backend, lines } = open(t, { REDIS_URL: `redis://127.0.0.1:${(hiding.address() as AddressInfo).port}` })
    await check(patienceMs)
    await connected()
    t.match(lines, [new RegExp(`hides ${field} in INFO.*there is no cache`)])
    t.equal(lines.length, 1)
    t.equal((await backend.identify()).incarnation, null)
  }
})

t.test('a server that lacks a command, or does not let itself be examined, is named with the reason', async t => {
  const unknown = { set: 'ERR syntax error', getex: "ERR unknown command 'getex'", eval: "ERR unknown command 'eval'", config: 'ERR unknown command' }
  const port = await pretendTo(t, unknown, 'redis_version:7.4.0', 'redis_mode:standalone')
  t.equal(
    await refusal(t, { REDIS_URL: `redis://127.0.0.1:${port}` }),
    `Redis at 127.0.0.1:${port} cannot do SET with NX and GET, GETEX, EVAL: Redis 7 or later, or Valkey, is needed`
  )

  for (const [error, word] of [['ERR unknown command', 'ERR'], ['LOADING Redis is loading the dataset in memory', 'LOADING']] as const) {
    const loading = await pretendTo(t, { info: error }, 'redis_version:7.4.0')
    const { check, backend, lines } = open(t, { REDIS_URL: `redis://127.0.0.1:${loading}` })
    await check()
    t.ok(await becomesTrue(() => lines.length > 0, patienceMs))
    // It is examined again with every connection, and goes on answering like that.
    await delay(1_000)
    t.same(lines, [`Redis at 127.0.0.1:${loading} answers INFO with the error ${word}: answering from the database`])
    t.equal(backend.connection, null, 'and is not used')
  }
})
