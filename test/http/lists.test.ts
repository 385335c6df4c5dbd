import t from 'tap'
import { runCommand } from '../../src/commands/index.js'
import { onEachGround, serverGround, startApp, type TestApp } from '../fixtures/app.js'
import { hold } from '../fixtures/locks.js'

interface Entry { id: string, createdAt: string }
interface Page { entries: Entry[], nextCursor: string | null }

/** A list of the API, and how its entries come and go. */
interface List {
  path: string
  /** The name of its entries. */
  name: string
  token: string
  /** Adds entries created at `at`, which is SQL. */
  add (count: number, at?: string): Promise<unknown>
  /** Ends that one. */
  end (id: string): Promise<unknown>
}

onEachGround(t, async (t, ground) => {
  const one = await startApp(t, ground, { env: { SESSION_LIMIT: '0' } })
  t.test('the commands that show a list show all of it', async t => {
    const { email, userId } = await one.account()
    await one.database.prepared(`insert into tokens (id, hash, kind, user_id, name, abilities, created_at)
      select gen_random_uuid(), sha256(uuid_send(gen_random_uuid())), kind, case kind when 'personal' then $1::uuid end, 'one of ' || n, '{*}', now()
      from generate_series(1, 230) n, unnest('{personal,service}'::text[]) kind`, [userId])
    const json = async (...[name, ...args]: [string, ...string[]]) => JSON.parse((await runCommand(one, name, [...args, '--json'])).stdout)
    t.equal((await json('users:show', '--email', email)).tokens.length, 230)
    t.equal((await json('services:list')).services.length, 230)
    t.match(await json('services:delete', '--name', 'one of 1', '--yes'), { name: 'one of 1' }, 'the last of them')
    await one.database.prepared("update tokens set revoked_at = now() where kind = 'service'", [])
  })

  for (const list of await listsOf(one)) {
    t.test(list.path, async t => {
      t.test('pages together have every entry once, newest first, whatever is added or ended between them', async t => {
        await list.add(4)
        await list.add(3, "now() - interval '1 hour'")
        const whole = await read(one, list)
        t.ok(whole.entries.length >= 7)
        t.equal(whole.nextCursor, null)
        t.same(whole.entries, [...whole.entries].sort(newestFirst), 'those of one moment in the order of their ids')
        const seen: string[] = []
        const [last] = whole.entries.slice(-1)
        for (let cursor: string | null = '', pages = 0; cursor !== null; pages++) {
          const page: Page = await read(one, list, `?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`)
          t.ok(page.entries.length <= 2)
          seen.push(...page.entries.map(({ id }) => id))
          cursor = page.nextCursor
          if (pages === 0) await list.add(1)
          if (pages === 1) await list.end(last?.id ?? '')
        }
        t.strictSame(seen, whole.entries.map(({ id }) => id).filter(id => id !== last?.id))
      })

      t.test('a page has a hundred entries unless it is told otherwise', async t => {
        await list.add(110)
        const first = await read(one, list)
        t.equal(first.entries.length, 100)
        t.type(first.nextCursor, 'string')
        t.strictSame(await read(one, list, '?limit=100'), first)
        const next = await read(one, list, `?cursor=${first.nextCursor}`)
        t.ok(next.entries.length >= 10)
        t.equal(next.nextCursor, null)
        t.strictSame(next.entries.filter(({ id }) => first.entries.some(entry => entry.id === id)), [])
      })

      t.test('a full last page is the end', async t => {
        const { entries } = await everything(one, list)
        const rest = await read(one, list, `?limit=100&cursor=${cursorAfter(entries.at(-3) as Entry)}`)
        t.strictSame(rest, { entries: entries.slice(-2), nextCursor: null })
        const exact = await read(one, list, `?limit=2&cursor=${cursorAfter(entries.at(-3) as Entry)}`)
        t.strictSame(exact, rest)
        const behind = await read(one, list, `?cursor=${cursorAfter(entries.at(-1) as Entry)}`)
        t.strictSame(behind, { entries: [], nextCursor: null }, 'and nothing is behind it')
      })

      t.test('a limit or a cursor that no page has is refused by name', async t => {
        for (const [query, code, field] of [
          ['?limit=0', 'FST_ERR_VALIDATION', 'limit'], ['?limit=101', 'FST_ERR_VALIDATION', 'limit'], ['?limit=x', 'FST_ERR_VALIDATION', 'limit'],
          ['?page=2', 'FST_ERR_VALIDATION', 'page'], ['?cursor=x', 'AUTH_CURSOR_REJECTED', 'cursor'], ['?cursor=MS54', 'AUTH_CURSOR_REJECTED', 'cursor']
        ] as const) {
          const reply = await one.call('GET', list.path + query, { token: list.token })
          t.match([reply.statusCode, reply.json()], [400, { code, field }], query)
        }
      })
    })
  }
})

t.test('a page is answered while rows of it are being written', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const one = await startApp(t, ground, { env: { SESSION_LIMIT: '0' } })
  for (const list of await listsOf(one)) {
    await list.add(3)
    const before = await read(one, list)
    const writer = await hold(t, ground, `update ${list.name === 'sessions' ? 'sessions set ended_at' : 'tokens set revoked_at'} = now()`)
    t.strictSame(await read(one, list), before, `${list.path}: as it was`)
    await writer.release()
  }
})

/** The lists, each with an owner of its own. */
async function listsOf (one: TestApp): Promise<List[]> {
  const [owner, maker, boss, other] = [await one.account(), await one.account(), await one.account(), await one.account()]
  await one.database.prepared("update users set role = 'admin' where id = $1", [boss.userId])
  const { accessToken: admin } = (await one.login(boss.email)).json<{ accessToken: string }>()
  const addSessions = (userId: string) => (count: number, at = 'now()') =>
    one.database.prepared(`insert into sessions (id, user_id, created_at, last_used_at, expires_at)
      select gen_random_uuid(), $1, ${at}, now(), now() + interval '1 day' from generate_series(1, ${count})`, [userId])
  const addTokens = (kind: 'personal' | 'service', userId: string | null) => (count: number, at = 'now()') =>
    one.database.prepared(`insert into tokens (id, hash, kind, user_id, name, abilities, created_at)
      select gen_random_uuid(), sha256(uuid_send(gen_random_uuid())), $1, $2, 'made', '{*}', ${at} from generate_series(1, ${count})`, [kind, userId])
  const endSession = (id: string) => one.database.prepared('update sessions set ended_at = now() where id = $1', [id])
  const endToken = (id: string) => one.database.prepared('update tokens set revoked_at = now() where id = $1', [id])
  return [
    { path: '/v1/sessions', name: 'sessions', token: owner.token, add: addSessions(owner.userId), end: endSession },
    { path: '/v1/tokens', name: 'tokens', token: maker.token, add: addTokens('personal', maker.userId), end: endToken },
    { path: '/v1/admin/services', name: 'services', token: admin, add: addTokens('service', null), end: endToken },
    {
      path: `/v1/admin/users/${other.userId}/sessions`,
      name: 'sessions',
      token: admin,
      add: addSessions(other.userId),
      end: endSession
    }
  ]
}

async function read (one: TestApp, { path, name, token }: List, query = ''): Promise<Page> {
  const reply = await one.call('GET', path + query, { token })
  if (reply.statusCode !== 200) throw new Error(`${path}${query} answered ${reply.statusCode} ${reply.body}`)
  const { [name]: entries, nextCursor } = reply.json<Record<string, Entry[]> & { nextCursor: string | null }>()
  return { entries: (entries as Entry[]).map(({ id, createdAt }) => ({ id, createdAt })), nextCursor }
}

async function everything (one: TestApp, list: List): Promise<Page> {
  const first = await read(one, list)
  const next = await read(one, list, `?cursor=${first.nextCursor}`)
  return { entries: [...first.entries, ...next.entries], nextCursor: next.nextCursor }
}

const cursorAfter = ({ id, createdAt }: Entry): string => Buffer.from(`${Date.parse(createdAt)}.${id}`).toString('base64url')

const newestFirst = (one: Entry, other: Entry): number =>
  Date.parse(other.createdAt) - Date.parse(one.createdAt) || (one.id < other.id ? 1 : -1)
