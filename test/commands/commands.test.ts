import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { commandNames, runCommand } from '../../src/commands/index.js'
import { embeddedGround, newEmail, password, startApp } from '../fixtures/app.js'
import { root } from '../fixtures/programs.js'

t.test('each command', async t => {
  const one = await startApp(t, await embeddedGround())
  const run = (name: string, ...args: string[]) => runCommand(one, name, args)
  const json = async (name: string, ...args: string[]) => {
    const outcome = await run(name, ...args, '--json')
    t.strictSame([outcome.exitCode, outcome.stderr], [0, ''], outcome.stderr)
    return JSON.parse(outcome.stdout)
  }

  t.test('has a help text, and refuses what it does not know', async t => {
    for (const name of commandNames) {
      t.match(await run(name, '--help'), { exitCode: 0, stdout: new RegExp(`^Usage: npm run ${name} -- .*--json`), stderr: '' })
      t.match(await run(name, '--unknown'), { exitCode: 2, stdout: '', stderr: new RegExp(`Usage: npm run ${name}`) })
    }
    t.match(await run('--help'), { exitCode: 0, stdout: /db:migrate .*\n.*users:delete .*\n.*cache:clear .*[^\n]$/s })
    for (const name of [
      'users:destroy',
      '',
      'constructor',
      '__proto__'
    ]) t.match(await run(name), { exitCode: 2, stderr: /Unknown command/ }, name)
    const bad: Array<[string, ...string[]]> = [
      ['users:create'], [
        'users:create',
        '--email',
        'none'
      ], ['users:create', '--email', newEmail(), '--name', ''], ['users:create', '--email', newEmail(), '--password', password],
      ['users:promote'], ['users:promote', '--email', newEmail(), '--role', 'root'], ['users:promote', '--email', newEmail(), '--yes'],
      [
        'tokens:revoke',
        '--yes'
      ], [
        'tokens:revoke',
        '--all',
        '--email',
        newEmail(),
        '--yes'
      ], ['cache:clear', 'now'], ['users:delete'], ['users:delete', '--yes'], ['tokens:stats', '--all'],
      ['users:show'], ['services:delete'], ['services:delete', '--id', '7', '--yes'],
      ['services:delete', '--name', 'orders', '--id', '00000000-0000-4000-8000-000000000000', '--yes']
    ]
    for (const [name, ...args] of bad) t.match(
      await run(name, ...args),
      { exitCode: 2, stdout: '', stderr: /Usage/ },
      `${name} ${args.join(' ')}`
    )
  })

  t.test('users:create makes an account, with a generated password or a given one', async t => {
    const [email, other] = [newEmail(), newEmail()]
    const made = await json('users:create', '--email', email.toUpperCase(), '--name', 'Ada', '--admin')
    t.match(made, { user: { email, name: 'Ada', role: 'admin' }, password: /^[\w-]{24}$/ })
    t.equal((await one.login(email, { password: made.password })).statusCode, 200)
    const told = await runCommand(one, 'users:create', ['--email', other, '--password-stdin'], { password })
    t.strictSame(told, { exitCode: 0, stdout: `Created the account of ${other}.`, stderr: '' })
    t.equal((await one.login(other)).json().user.role, 'user')
    await t.rejects(run('users:create', '--email', other), { code: 'AUTH_EMAIL_TAKEN' })
    await t.rejects(runCommand(one, 'users:create', ['--email', newEmail(), '--password-stdin'], { password: 'x' }), { code: 'AUTH_PASSWORD_REJECTED' })
    await t.rejects(runCommand(one, 'users:create', ['--email', newEmail(), '--password-stdin'], { password: '' }), /no password/)
    t.match((await run('users:create', '--email', newEmail())).stdout, /\nIts password, shown this once: [\w-]{24}$/)
  })

  t.test('users:promote gives a role and takes it back, but not from the last', async t => {
    const { email, token } = await one.account()
    t.strictSame(await run('users:promote', '--email', email), { exitCode: 0, stdout: `${email} has the role admin now.`, stderr: '' })
    t.equal((await one.call('GET', '/v1/admin/users', { token })).statusCode, 200)
    t.match(await json('users:promote', '--email', email, '--role', 'user'), { user: { email, role: 'user' } })
    t.equal((await one.call('GET', '/v1/admin/users', { token })).statusCode, 403)
    await t.rejects(run('users:promote', '--email', newEmail()), /no account/)
    await one.database.prepared("update users set role = 'user'", [])
    await run('users:promote', '--email', email)
    await t.rejects(run('users:promote', '--email', email, '--role', 'user'), { code: 'AUTH_LAST_ADMIN' })
  })

  t.test('users:list pages through accounts, filtered by the start of the address or newest first', async t => {
    const [one1, one2] = [await one.account(), await one.account()]
    const page = await json('users:list', '--limit', '1')
    t.match(page, { users: [{ email: one2.email, disabledAt: null }], nextCursor: String })
    t.match(await json('users:list', '--limit', '1', '--cursor', page.nextCursor), { users: [{ email: one1.email }] })
    t.match(
      (await run('users:list', '--limit', '1')).stdout,
      new RegExp(`^${one2.userId}  ${one2.email}  user, unverified, created .*\\nMore: --cursor \\S+$`)
    )
    t.match(await json('users:list', '--email', one1.email.slice(0, -5)), { users: [{ email: one1.email }], nextCursor: null })
    t.match(await run('users:list', '--email', 'nobody@'), { exitCode: 0, stdout: 'There are no such accounts.' })
    for (const limit of ['0', '1001', 'x']) t.match(await run('users:list', '--limit', limit), { exitCode: 2, stderr: /from 1 to 1000/ })
  })

  t.test('users:disable ends sessions and lets nobody in until users:enable', async t => {
    const { email, token, userId } = await one.account()
    const personal = await one.personal(token)
    t.same(await json('users:disable', '--email', email), { userId })
    for (const ended of [token, personal]) t.equal((await one.me(ended)).statusCode, 401)
    t.equal((await one.login(email)).statusCode, 401)
    t.match((await run('users:list', '--email', email)).stdout, /disabled \d{4}-/)
    t.strictSame(await run('users:enable', '--email', email), { exitCode: 0, stdout: `Enabled the account of ${email}.`, stderr: '' })
    t.equal((await one.me(personal)).statusCode, 200)
    t.equal((await one.login(email)).statusCode, 200)
    for (const name of ['users:disable', 'users:enable']) await t.rejects(run(name, '--email', newEmail()), /no account/)
  })

  t.test('users:show shows an account with its sessions and personal tokens, and no secret', async t => {
    const { email, token, userId, sessionId } = await one.account({ name: 'Ada', deviceName: 'Phone' })
    const personal = await one.personal(token)
    const shown = await json('users:show', '--email', email.toUpperCase())
    t.match(shown, {
      user: { id: userId, email, name: 'Ada', role: 'user', emailVerifiedAt: null, disabledAt: null },
      sessions: [{ id: sessionId, deviceName: 'Phone', lastUsedAt: String, current: undefined }],
      tokens: [{ name: 'script', abilities: ['*'], expiresAt: null, lastUsedAt: null }]
    })
    const { stdout } = await run('users:show', '--email', email)
    t.match(stdout, new RegExp(`^${email} \\(${userId}\\)\n.*role: user\n.*Sessions: 1\n  ${sessionId}  Phone, from .*Personal tokens: 1\n  .*  script `, 's'))
    for (const text of [JSON.stringify(shown), stdout]) for (const secret of [token, personal, 'sha384', '$2']) t.notOk(text.includes(secret))

    await one.call('POST', '/v1/login', { body: { email, password }, headers: { 'user-agent': 'evil\u009b2J agent' } })
    await run('users:disable', '--email', email)
    t.match((await run('users:show', '--email', email)).stdout, /disabled: \d{4}-.*\nSessions: 0\n/s)
    await run('users:enable', '--email', email)
    await one.call('POST', '/v1/login', { body: { email, password }, headers: { 'user-agent': 'evil\u009b2J agent' } })
    t.match((await run('users:show', '--email', email)).stdout, / evil\?2J agent, from /, 'nothing that a terminal would obey')
    await t.rejects(run('users:show', '--email', newEmail()), /no account/)
  })

  t.test('each command has its npm script', async t => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
    for (const name of commandNames) t.equal(scripts[name], `node scripts/build.js && node dist/src/cli.js ${name}`)
  })

  t.test('users:delete asks first, ends every token, leaves one event of the account, and keeps the last administrator', async t => {
    const [mine, theirs] = [await one.account(), await one.account()]
    const personal = await one.personal(mine.token)
    t.match(
      await run('users:delete', '--email', mine.email),
      { exitCode: 2, stdout: '', stderr: /^Delete the account .*\? .*pass --yes\.$/ }
    )
    t.equal((await one.me(mine.token)).statusCode, 200)
    t.same(await json('users:delete', '--email', mine.email, '--yes'), { userId: mine.userId })
    for (const token of [mine.token, personal]) t.equal((await one.me(token)).statusCode, 401)
    t.equal((await one.me(theirs.token)).statusCode, 200)
    for (const table of [
      'users where id',
      'tokens where user_id',
      'sessions where user_id'
    ]) t.strictSame(await one.database.prepared(`select 1 from ${table} = $1`, [mine.userId]), [], table)
    t.strictSame(await one.database.prepared('select type from events where user_id = $1', [mine.userId]), [{ type: 'account_deleted' }])
    await t.rejects(run('users:delete', '--email', mine.email, '--yes'), /no account/)
    t.equal((await one.register(mine.email)).statusCode, 201, 'the address is free again')

    await one.database.prepared("update users set role = 'user'", [])
    await run('users:promote', '--email', theirs.email)
    await t.rejects(run('users:delete', '--email', theirs.email, '--yes'), { code: 'AUTH_LAST_ADMIN' })
    t.equal((await one.me(theirs.token)).statusCode, 200)
  })

  t.test('tokens:revoke asks before ending what cannot be restored', async t => {
    const [mine, theirs] = [await one.account(), await one.account()]
    const personal = await one.personal(mine.token)
    for (const args of [
      ['--all'],
      ['--email', mine.email]
    ]) t.match(await run('tokens:revoke', ...args), { exitCode: 2, stdout: '', stderr: /^End every session .*\? .*pass --yes\.$/ })
    t.equal((await one.me(mine.token)).statusCode, 200)
    t.same(await json('tokens:revoke', '--email', mine.email, '--yes'), { userId: mine.userId })
    for (const token of [mine.token, personal]) t.equal((await one.me(token)).statusCode, 401)
    t.equal((await one.me(theirs.token)).statusCode, 200)
    t.match(
      await run('tokens:revoke', '--all', '--yes'),
      { exitCode: 0, stdout: /^Ended \d+ sessions and \d+ personal tokens of \d+ users\.$/ }
    )
    t.equal((await one.me(theirs.token)).statusCode, 401)
    t.same(await json('tokens:revoke', '--all', '--yes'), { users: 0, sessions: 0, personalTokens: 0, services: 0 }, 'nothing is left')
    await t.rejects(run('tokens:revoke', '--email', newEmail(), '--yes'), /no account/)
  })

  t.test('tokens:revoke --all ends services too, if told to', async t => {
    const { accessToken: service } = await json('services:create', '--name', 'orders') as { accessToken: string }
    const introspect = () =>
      one.call(
        'POST',
        '/oauth/introspect',
        { token: service, body: 'token=x', headers: { 'content-type': 'application/x-www-form-urlencoded' } }
      )
    t.equal((await introspect()).statusCode, 200)
    await run('tokens:revoke', '--all', '--yes')
    t.equal((await introspect()).statusCode, 200, 'not said')
    t.match(await run('tokens:revoke', '--email', newEmail(), '--services', '--yes'), { exitCode: 2, stderr: /--services goes with --all/ })
    t.match(await run('tokens:revoke', '--all', '--services'), { exitCode: 2, stderr: /and of every service\? .*pass --yes\.$/ })
    t.match(await run('tokens:revoke', '--all', '--services', '--yes'), { exitCode: 0, stdout: /, and the tokens of 1 services\.$/ })
    t.equal((await introspect()).statusCode, 401)
    t.match(
      await one.database.prepared("select actor_id, cause from events where type = 'service_ended' order by created_at desc limit 1", []),
      [{ actor_id: null, cause: 'command' }]
    )
  })

  t.test('tokens:stats and cache:clear report what they found and did', async t => {
    let before = await json('tokens:stats')
    while (!before.cache.trusted) before = await json('tokens:stats')
    t.match(
      before,
      { database: { exact: true, revoked: Number, byKind: {} }, cache: { generation: Number, trusted: true, hitRatio: Number } }
    )
    t.strictSame(await run('cache:clear'), { exitCode: 0, stdout: 'Every cache entry is void.', stderr: '' })
    t.ok((await json('tokens:stats')).cache.generation > before.cache.generation)
    t.match(
      (await run('tokens:stats')).stdout,
      /^Tokens: \d+; \d+ active, \d+ expired, \d+ revoked, \d+ never used\n {2}access: \d+ active.*\nCache: generation \d+, 0 settlements open, a server registered\n.*hit ratio/s
    )
  })

  t.test('services:list shows the services, never their tokens', async t => {
    const { accessToken, id } = await json('services:create', '--name', 'listed') as { accessToken: string, id: string }
    const { services } = await json('services:list')
    t.match(services[0], { id, name: 'listed', lastUsedAt: null })
    const { stdout } = await run('services:list')
    t.match(stdout, new RegExp(`^${id}  listed  created .*, never used`))
    t.notMatch(stdout + JSON.stringify(services), accessToken)
  })

  t.test('services:delete asks first, then ends that service alone, named or by its id', async t => {
    const make = async (name: string) => await json('services:create', '--name', name) as { accessToken: string, id: string }
    const [first, second, other] = [await make('twin'), await make('other twin'), await make('single')]
    // From a time when two services could have one name.
    await one.database.prepared("update tokens set name = 'twin' where id = $1", [second.id])
    const status = async ({ accessToken: token }: { accessToken: string }) => (await one.call('POST', '/oauth/introspect', {
      token, body: 'token=x', headers: { 'content-type': 'application/x-www-form-urlencoded' }
    })).statusCode
    t.match(await run('services:delete', '--name', 'single'), { exitCode: 2, stdout: '', stderr: /^End the service single, .* pass --yes\.$/ })
    t.equal(await status(other), 200)
    t.same(await json('services:delete', '--name', 'single', '--yes'), { id: other.id, name: 'single' })
    t.equal(await status(other), 401)
    t.match(
      await one.database.prepared('select type, actor_id, cause from events where token_id = $1 order by created_at desc limit 1', [other.id]),
      [{ type: 'service_ended', actor_id: null, cause: 'command' }]
    )
    await t.rejects(run('services:delete', '--name', 'twin', '--yes'), {
      message: `There are 2 services of this name: give the --id of one.\n${second.id}\n${first.id}`
    })
    t.strictSame(
      await run('services:delete', '--id', first.id, '--yes'),
      { exitCode: 0, stdout: `Ended the service twin (${first.id}).`, stderr: '' }
    )
    t.strictSame([await status(first), await status(second)], [401, 200])
    for (const gone of [['--id', first.id], ['--name', 'single']]) await t.rejects(run('services:delete', ...gone, '--yes'), /no such service/)
  })
})
