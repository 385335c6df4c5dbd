import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import bcrypt from 'bcrypt'
import t from 'tap'
import { runCommand } from '../../src/commands/index.js'
import { systemClock } from '../../src/shared/clock.js'
import type { Progress } from '../../src/shared/progress.js'
import { createUserImport } from '../../src/users/import.js'
import { createImportStore } from '../../src/users/import-store.js'
import { embeddedGround, newEmail, onEachGround, password, serverGround, startApp, type TestApp } from '../fixtures/app.js'
import { hold, holdUser } from '../fixtures/locks.js'

const folder = mkdtempSync(join(tmpdir(), 'latchkey-import-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

/** What Laravel's user factory has stored for "password" for years. */
const laravelHash = '$2y$10$92IXUNpkjO0rOQ5byMi.Ye4oKoEa3Ro9llC/.og/at2.uheWG/igi'
/** From PHP's manual of crypt(), for "rasmuslerdorf". */
const phpHash = '$2y$07$BCryptRequires22Chrcte/VlQH0piJtjXl.0t1XkA8pw9dMXTTOq'
const hashOf = (plain: string, prefix = '$2b$') => bcrypt.hashSync(plain, 4).replace('$2b$', prefix)
const goodHash = hashOf(password)

let files = 0
function fileOf (content: string | Buffer | object[]): string {
  const path = join(folder, `users-${files++}.jsonl`)
  writeFileSync(path, Array.isArray(content) ? content.map(line => JSON.stringify(line)).join('\n') : content)
  return path
}

const storedHash = async (app: TestApp, email: string) => {
  const [row] = await app.database.prepared<{ hash: string }>('select password_hash as hash from users where email = $1', [email])
  return row?.hash ?? null
}
const eventsOf = async (app: TestApp, userId: string) =>
  (await app.database.prepared<{ type: string }>('select type from events where user_id = $1', [userId])).map(({ type }) => type)
const countImports = async (app: TestApp) =>
  (await app.database.prepared<{ count: number }>("select count(*)::int as count from events where type = 'users_imported'", []))[0]?.count ?? 0
/** What an import is made of, but its first look finds nobody: as if they registered after it. */
function parts ({ database, audit }: TestApp) {
  const store = createImportStore(database)
  const findTaken: typeof store.findTaken = async (many, tx) =>
    tx === undefined ? { emails: new Set(), ids: new Set() } : await store.findTaken(many, tx)
  return { store: { ...store, findTaken }, transactions: database, audit }
}
const countUsers = async (app: TestApp) =>
  (await app.database.prepared<{ count: number }>('select count(*)::int as count from users', []))[0]?.count

onEachGround(t, async (t, ground) => {
  const one = await startApp(t, ground, { env: { SESSION_LIMIT: '5' } })
  const importing = (content: string | Buffer | object[], dryRun = false) => one.importUsers({ path: fileOf(content), dryRun })
  const reasons = async (content: string | Buffer | object[]) =>
    (await importing(content)).problems.map(({ line, reason }) => `${line}: ${reason}`)

  t.test('a Laravel table can be imported: its users log in as before, and their hashes become ours', async t => {
    const email = newEmail()
    const report = await importing([
      {
        name: 'Taylor',
        email: email.toUpperCase(),
        email_verified_at: '2024-01-02T03:04:05.000000Z',
        password_hash: laravelHash,
        created_at: '2023-05-06T07:08:09.000000Z'
      },
      { email: newEmail(), passwordHash: phpHash }
    ])
    t.strictSame(report, { users: 2, imported: 2, dryRun: false, problems: [] })
    t.equal(await storedHash(one, email), laravelHash, 'unchanged until the password is known')
    t.equal((await one.login(email, { password: 'passwords' })).statusCode, 401)
    t.equal(await storedHash(one, email), laravelHash)
    const reply = await one.login(email, { password: 'password' })
    t.equal(reply.statusCode, 200, reply.body)
    t.match(
      reply.json().user,
      { email, name: 'Taylor', role: 'user', emailVerifiedAt: '2024-01-02T03:04:05.000Z', createdAt: '2023-05-06T07:08:09.000Z' }
    )
    t.match(await storedHash(one, email), /^sha384:\$2b\$04\$/)
    t.equal((await one.login(email, { password: 'password' })).statusCode, 200)
    t.equal((await one.login(email, { password: 'passwords' })).statusCode, 401)
  })

  t.test('a Better Auth table with bcrypt can be imported, and its own scrypt hashes are reported', async t => {
    const [bcrypted, scrypted] = [newEmail(), newEmail()]
    const file = (hash: string) => [
      { email: bcrypted, name: 'Bereket', emailVerifiedAt: null, createdAt: '2025-03-04T05:06:07.890+02:00', passwordHash: goodHash },
      { email: scrypted, name: null, passwordHash: hash }
    ]
    t.strictSame(
      await reasons(file(`${'a1'.repeat(16)}:${'b2'.repeat(64)}`)),
      ['2: passwordHash is not a bcrypt hash: $2a$, $2b$ or $2y$, cost 4 to 15']
    )
    t.equal(await storedHash(one, bcrypted), null, 'no import is partial')
    t.equal((await importing(file(hashOf('other')))).imported, 2)
    t.match((await one.login(bcrypted)).json().user, { name: 'Bereket', emailVerifiedAt: null, createdAt: '2025-03-04T03:06:07.890Z' })
  })

  for (const prefix of ['$2a$', '$2b$', '$2y$']) {
    t.test(`a ${prefix} hash opens the account, and is then replaced`, async t => {
      const [email, wide] = [newEmail(), newEmail()]
      const long = `${'ä'.repeat(36)}and what bcrypt never saw`
      await importing([{ email, passwordHash: hashOf(password, prefix) }, { email: wide, passwordHash: hashOf(long, prefix) }])
      t.equal((await one.login(email, { password: 'wrong' })).statusCode, 401)
      t.equal((await one.login(email)).statusCode, 200)
      t.match(await storedHash(one, email), /^sha384:/)
      t.equal((await one.login(email)).statusCode, 200)
      t.equal((await one.login(wide, { password: long })).statusCode, 200)
      t.equal((await one.login(wide, { password: long })).statusCode, 200)
      t.equal((await one.login(wide, { password: long.slice(0, 40) })).statusCode, 401)
    })
  }

  t.test('every bad line is reported, and nothing is imported', async t => {
    const [before, imports] = [await countUsers(one), await countImports(one)]
    const { email: taken, userId } = await one.account()
    const newId = randomUUID()
    const tomorrow = new Date(Date.now() + 86_400_000).toISOString()
    const twice = newEmail()
    const good = { email: newEmail(), passwordHash: goodHash }
    const lines = [
      JSON.stringify(good),
      '{"email": "cut@example.com", "passwordHash": "',
      '["not", "an", "object"]',
      '',
      JSON.stringify({ email: 'nobody', passwordHash: goodHash }),
      JSON.stringify({ passwordHash: goodHash }),
      JSON.stringify({ email: newEmail() }),
      JSON.stringify({ email: newEmail(), passwordHash: null, password: 'plain' }),
      JSON.stringify({ email: newEmail(), passwordHash: `$2b$03$${goodHash.slice(7)}` }),
      JSON.stringify({ email: newEmail(), passwordHash: `$2b$31$${goodHash.slice(7)}` }),
      JSON.stringify({ email: newEmail(), passwordHash: `$2x$${goodHash.slice(4)}` }),
      JSON.stringify({ email: newEmail(), passwordHash: `${goodHash} ` }),
      JSON.stringify({ email: newEmail(), passwordHash: goodHash, password_hash: goodHash }),
      JSON.stringify({ email: newEmail(), passwordHash: goodHash, name: '', createdAt: '2024-01-02 03:04:05' }),
      JSON.stringify({ email: newEmail(), passwordHash: goodHash, emailVerifiedAt: true, createdAt: '2024-02-30T00:00:00Z' }),
      JSON.stringify({ email: newEmail(), passwordHash: goodHash, createdAt: '2016-12-31T23:59:60Z' }),
      JSON.stringify({ email: newEmail(), passwordHash: goodHash, createdAt: '0000-01-01T00:00:00Z' }),
      JSON.stringify({ email: taken.toUpperCase(), passwordHash: goodHash }),
      JSON.stringify({ email: twice, passwordHash: goodHash }),
      JSON.stringify({ email: ` ${twice}`, passwordHash: goodHash }),
      JSON.stringify({ email: twice.toUpperCase(), passwordHash: goodHash }),
      JSON.stringify({ email: twice, passwordHash: goodHash }),
      `{"email": "${newEmail()}", "passwordHash": "${goodHash}", "__proto__": {"role": "admin"}}`,
      JSON.stringify({ email: newEmail(), passwordHash: goodHash, role: 'root' }),
      JSON.stringify({ email: newEmail(), passwordHash: goodHash, name: 'x'.repeat(70_000) }),
      JSON.stringify({ email: newEmail(), passwordHash: goodHash, name: 'NUL \u0000' }),
      JSON.stringify({ id: 7, email: newEmail(), passwordHash: goodHash }),
      JSON.stringify({ id: '00000000-0000-0000-0000-000000000000', email: newEmail(), passwordHash: goodHash }),
      JSON.stringify({ id: userId.toUpperCase(), email: newEmail(), passwordHash: goodHash }),
      JSON.stringify({ id: newId, email: newEmail(), passwordHash: goodHash }),
      JSON.stringify({ id: newId.toUpperCase(), email: taken, passwordHash: goodHash }),
      JSON.stringify({ email: newEmail(), passwordHash: goodHash, emailVerifiedAt: tomorrow, createdAt: tomorrow }),
      JSON.stringify({ email: newEmail(), passwordHash: goodHash, role: ['admin'], totpSecret: 'JBSWY3DPEHPK3PXP' })
    ]
    const bytes = Buffer.concat([
      Buffer.from(`${lines.join('\n')}\n{"email": "`),
      Buffer.from([0xff, 0xfe]),
      Buffer.from('@example.com"}\n\n')
    ])
    const report = await importing(bytes)
    const time = 'is not a time of RFC 3339, with its zone, since 1970'
    const hash = 'passwordHash is not a bcrypt hash: $2a$, $2b$ or $2y$, cost 4 to 15'
    t.strictSame(report.problems.map(({ line, reason }) => `${line}: ${reason}`), [
      '2: is not JSON', '3: is not a JSON object', '5: email is not an address', '6: email is missing', '7: passwordHash is missing',
      '8: the field "password" is unknown; passwordHash is missing', `9: ${hash}`, `10: ${hash}`, `11: ${hash}`, `12: ${hash}`,
      '13: passwordHash is there twice', `14: name must have 1 to 200 characters, and no control character; createdAt ${time}`,
      `15: emailVerifiedAt ${time}; createdAt ${time}`, `16: createdAt ${time}`, `17: createdAt ${time}`,
      '18: the email has an account already', '20: email is not an address', '21: the email is that of line 19', '22: the email is that of line 19',
      '23: the field "__proto__" is unknown', '24: role is neither user nor admin', '25: is longer than 64 KiB',
      '26: name must have 1 to 200 characters, and no control character',
      '27: id must be a UUID, and not the nil one', '28: id must be a UUID, and not the nil one', '29: the id has an account already',
      '31: the email is that of line 18; the id is that of line 30',
      '32: emailVerifiedAt is in the future; createdAt is in the future', '33: totpSecret cannot be imported; role is neither user nor admin',
      '34: is not UTF-8'
    ])
    t.match(report, { users: 33, imported: 0 })
    t.equal(await countUsers(one), (before ?? 0) + 1, 'only the account that this test made')
    t.notMatch(JSON.stringify(report), goodHash.slice(7))
    t.notMatch(JSON.stringify(report), 'JBSWY3DPEHPK3PXP')
    t.strictSame(await eventsOf(one, userId), ['registered'])
    t.equal(await countImports(one), imports, 'what was not done leaves no event')
  })

  t.test('an id, a role and the time of verification are kept, and an import leaves an event, as does each administrator in it', async t => {
    const [id, adminId] = [randomUUID(), randomUUID()]
    const [kept, plain, admin] = [newEmail(), newEmail(), newEmail()]
    const imports = await countImports(one)
    t.match(await importing([
      { id: id.toUpperCase(), email: kept, passwordHash: goodHash, role: 'user', emailVerifiedAt: '2024-01-02T03:04:05Z' },
      { id: null, email: plain, passwordHash: goodHash, role: null, emailVerifiedAt: null },
      { id: adminId, email: admin, passwordHash: goodHash, role: 'admin' }
    ]), { users: 3, imported: 3, problems: [] })
    t.equal(await countImports(one), imports + 1)
    t.match((await one.login(kept)).json().user, { id, role: 'user', emailVerifiedAt: '2024-01-02T03:04:05.000Z' })
    t.match((await one.login(plain)).json().user, { id: /^[0-9a-f-]{36}$/, role: 'user', emailVerifiedAt: null })
    const { accessToken: token } = (await one.login(admin)).json()
    const { events } = (await one.call('GET', `/v1/admin/events?userId=${adminId}`, { token })).json()
    t.match(events, [{ type: 'login_succeeded' }, { type: 'user_created', userId: adminId, actorId: null, cause: 'import', role: 'admin' }])
    t.strictSame(await eventsOf(one, id), ['login_succeeded'], 'others have no event of their own')
    const { events: [imported] } = (await one.call('GET', '/v1/admin/events?type=users_imported', { token })).json()
    t.match(imported, { userId: null, actorId: null, cause: 'command', ip: null })
    await importing([])
    t.equal(await countImports(one), imports + 1, 'an empty file imports nothing')
  })

  t.test('progress is told of both passes, and ends with the whole file', async t => {
    const told: Progress[] = []
    const path = fileOf(Array.from({ length: 2_500 }, () => ({ email: newEmail(), passwordHash: goodHash })))
    await one.importUsers({ path, dryRun: false, onProgress: progress => { told.push(progress) } })
    t.strictSame(told.map(({ step, count, unit }) => `${step} ${count} ${unit}`), [
      'Checking 1000 lines', 'Checking 2000 lines', 'Checking 2500 lines', 'Importing 1000 lines', 'Importing 2000 lines', 'Importing 2500 lines'
    ])
    const fractions = told.slice(0, 3).map(({ fraction }) => fraction as number)
    t.ok(Math.abs((fractions[0] as number) - 0.4) < 0.01 && Math.abs((fractions[1] as number) - 0.8) < 0.01, String(fractions))
    t.equal(fractions[2], 1)
  })

  t.test('a byte order mark, CRLF, empty lines and a missing final newline do no harm', async t => {
    const [first, second] = [newEmail(), newEmail()]
    const line = (email: string) => JSON.stringify({ email, passwordHash: goodHash })
    t.match(await importing(`\ufeff${line(first)}\r\n\r\n  \n${line(second)}`), { users: 2, imported: 2, problems: [] })
    t.match(await importing(''), { users: 0, imported: 0, problems: [] })
    t.equal((await one.login(first)).statusCode, 200)
  })

  t.test('thousands of lines are imported together, or not at all when the last is bad', async t => {
    const before = await countUsers(one) ?? 0
    const many = Array.from({ length: 2_500 }, () => ({ email: newEmail(), passwordHash: goodHash }))
    t.strictSame(await reasons([...many, many[0] as object]), ['2501: the email is that of line 1'])
    t.equal(await countUsers(one), before)
    t.match(await importing(many, true), { users: 2_500, imported: 0, dryRun: true, problems: [] })
    t.equal(await countUsers(one), before, 'a dry run imports nothing')
    t.match(await importing(many), { users: 2_500, imported: 2_500 })
    t.equal(await countUsers(one), before + 2_500)
    t.equal((await reasons(many)).length, 2_500, 'the second time, all of them exist already')
  })

  t.test('a user who registers between the check and the import is reported, and nothing is imported', async t => {
    const { email, userId } = await one.account()
    const late = createUserImport({ ...parts(one), clock: systemClock })
    const before = await countUsers(one)
    const users = [
      { email: newEmail(), passwordHash: goodHash }, { email, passwordHash: goodHash }, { email: newEmail(), id: userId, passwordHash: goodHash }
    ]
    t.strictSame(await late({ path: fileOf(users), dryRun: false }), {
      users: 3,
      imported: 0,
      dryRun: false,
      problems: [{ line: 2, reason: 'the email has an account already' }, { line: 3, reason: 'the id has an account already' }]
    })
    t.equal(await countUsers(one), before)
  })

  t.test('a file that cannot be read is reported as such', async t => {
    await t.rejects(one.importUsers({ path: join(folder, 'nowhere.jsonl'), dryRun: false }), { message: /ENOENT.*nowhere\.jsonl/ })
    await t.rejects(one.importUsers({ path: folder, dryRun: false }), { message: /is not a regular file/ })
  })
})

t.test('hashes that age', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const at = (cost: string) => startApp(t, ground, { env: { BCRYPT_COST: cost, SESSION_LIMIT: '5' } })
  const [four, five] = await Promise.all([at('4'), at('5')])

  t.test('a login under another BCRYPT_COST renews the hash, and one under the same cost leaves it alone', async t => {
    const { email } = await four.account()
    const first = await storedHash(four, email)
    t.match(first, /^sha384:\$2b\$04\$/)
    await four.login(email)
    t.equal(await storedHash(four, email), first)
    t.equal((await five.login(email, { password: 'wrong' })).statusCode, 401)
    t.equal(await storedHash(four, email), first, 'only the right password renews it')
    t.equal((await five.login(email)).statusCode, 200)
    t.match(await storedHash(four, email), /^sha384:\$2b\$05\$/)
    t.equal((await four.login(email)).statusCode, 200)
    t.match(await storedHash(four, email), /^sha384:\$2b\$04\$/, 'also at a lower cost')
  })

  t.test('two simultaneous first logins of an imported user both succeed', async t => {
    const { email, userId } = await imported(four)
    const row = await holdUser(t, ground, userId)
    const logins = [four.login(email), five.login(email)]
    await row.waiters(2)
    await row.release()
    t.strictSame((await Promise.all(logins)).map(({ statusCode }) => statusCode), [200, 200])
    t.match(await storedHash(four, email), /^sha384:/)
  })

  t.test('many simultaneous first logins all succeed', async t => {
    const { email } = await imported(four)
    const replies = await Promise.all(Array.from({ length: 8 }, () => four.login(email)))
    t.strictSame([...new Set(replies.map(({ statusCode }) => statusCode))], [200])
  })

  t.test('a login that waited for a password change is refused, although it looks once more', async t => {
    const { email, userId, token } = await four.account()
    const row = await holdUser(t, ground, userId)
    const change = four.call('PUT', '/v1/password', { token, body: { currentPassword: password, newPassword: 'another long password' } })
    await row.waiters(1)
    const login = five.login(email)
    await row.waiters(2)
    await row.release()
    t.equal((await change).statusCode, 200)
    const refused = await login
    t.strictSame([refused.statusCode, refused.json().code], [401, 'AUTH_INVALID_CREDENTIALS'])
  })

  t.test('a password change that waited for a login that renewed the hash succeeds', async t => {
    const { email, userId, token } = await four.account()
    const row = await holdUser(t, ground, userId)
    const login = five.login(email)
    await row.waiters(1)
    const change = four.call('PUT', '/v1/password', { token, body: { currentPassword: password, newPassword: 'another long password' } })
    await row.waiters(2)
    await row.release()
    t.equal((await login).statusCode, 200)
    const reply = await change
    t.equal(reply.statusCode, 200, reply.body)
    t.equal((await four.login(email)).statusCode, 401)
    t.equal((await four.login(email, { password: 'another long password' })).statusCode, 200)
  })

  t.test('a login that waited while the user was disabled is refused', async t => {
    const { email, userId } = await imported(four)
    const row = await hold(t, ground, `update users set disabled_at = now() where id = '${userId}'`)
    const login = four.login(email)
    await row.waiters(1)
    await row.commit()
    const refused = await login
    t.strictSame([refused.statusCode, refused.json().code], [401, 'AUTH_INVALID_CREDENTIALS'])
  })

  t.test('a wrong password takes as long for a cheap imported hash as for an unknown account', async t => {
    const ten = await at('10')
    const { email } = await imported(ten)
    const timed = async (account: string) => {
      const startedAt = performance.now()
      t.equal((await ten.login(account, { password: 'wrong' })).statusCode, 401)
      return performance.now() - startedAt
    }
    const nobody = newEmail()
    // The fastest of each, taken in turns: other load on the machine slows both.
    let [theirs, nobodys] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
    for (let i = 0; i < 8; i++) {
      theirs = Math.min(theirs, await timed(email))
      nobodys = Math.min(nobodys, await timed(nobody))
    }
    t.ok(theirs > nobodys * 0.6, `${Math.round(theirs)} ms and ${Math.round(nobodys)} ms`)
  })
})

t.test('the command', async t => {
  const one = await startApp(t, await embeddedGround())
  const run = (...args: string[]) => runCommand(one, 'users:import', args)
  const [good, bad] = [fileOf([{ email: newEmail(), passwordHash: goodHash }]), fileOf('\n{"email":"x"}')]

  t.test('prints its usage', async t => {
    t.match(await run('--help'), { exitCode: 0, stdout: /^Usage: npm run users:import -- .*FILE/ })
    for (const args of [[], ['a', 'b'], ['--unknown', 'a']]) {
      t.match(await run(...args), { exitCode: 2, stdout: '', stderr: /Usage: npm run users:import/ }, args.join(' '))
    }
    t.match(await runCommand(one, 'tokens:prune', ['file']), { exitCode: 2 }, 'no other command takes a file')
  })

  t.test('reports as text or as JSON, and fails when nothing was imported', async t => {
    t.strictSame(await run('--dry-run', good), { exitCode: 0, stdout: 'Would import 1 users.', stderr: '' })
    t.strictSame(await run(good), { exitCode: 0, stdout: 'Imported 1 users.', stderr: '' })
    const problems = [{ line: 1, reason: 'the email has an account already' }]
    t.strictSame(
      await run('--json', good),
      { exitCode: 1, stdout: JSON.stringify({ users: 1, imported: 0, dryRun: false, problems }), stderr: '' }
    )
    const said = 'imported: 1 of 1 lines are bad.\nLine 2: email is not an address; passwordHash is missing'
    t.strictSame(await run(bad), { exitCode: 1, stdout: '', stderr: `Nothing was ${said}` })
    t.strictSame(await run(bad, '--dry-run'), { exitCode: 1, stdout: '', stderr: `Nothing would be ${said}` })
  })

  t.test('finds a file relative to the folder of the caller when a server runs the command', async t => {
    writeFileSync(join(folder, '--json'), '{"email":"x"}')
    const relative = (...args: string[]) => runCommand(one, 'users:import', args, { folder })
    t.match(await relative('--json', basename(good)), { exitCode: 1, stdout: /"line":1/ })
    t.match(await relative('--dry-run', good), { exitCode: 1, stderr: /^Nothing would be imported: 1 of 1/ }, 'an absolute path as it is')
    t.match(await relative('--', '--json'), { exitCode: 1, stdout: '', stderr: /1 of 1 lines are bad/ }, 'whatever the file is called')
  })
})

/** A user imported with a hash from elsewhere. */
async function imported (app: TestApp): Promise<{ email: string, userId: string }> {
  const email = newEmail()
  await app.importUsers({ path: fileOf([{ email, passwordHash: goodHash }]), dryRun: false })
  const [row] = await app.database.prepared<{ id: string }>('select id from users where email = $1', [email])
  return { email, userId: row?.id ?? '' }
}
