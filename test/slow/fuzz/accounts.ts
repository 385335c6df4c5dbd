import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type postgres from 'postgres'
import { createPhone } from '../../factors/phone.js'
import { becomesTrue } from '../../fixtures/app.js'
import type { Incoming } from './client.js'

/** A user with everything a request may need; `personal` once it has been created. */
export interface Account {
  email: string
  password: string
  userId: string
  sessionId: string
  token: string
  refreshToken: string
  personal: { id: string, token: string } | null
  admin: boolean
  /** Once it has a second factor, or may get one: it isn't lent again. */
  enrolled?: true
}

interface Parts {
  /** Sends JSON to the server and checks the reply like any other. */
  call (method: string, path: string, token: string | null, body: object | null): Promise<Incoming>
  sql: postgres.Sql
  /** Part of every password of the run and of nothing else: it may appear in no log line. */
  marker: string
  mailFolder: string
  /** Runs an operator's command on the same database and returns its output. */
  command (name: string, ...args: string[]): Promise<string>
}

/** Accounts for valid requests, each used by one request at a time, and the mails sent to them. */
export type Accounts = ReturnType<typeof createAccounts>

export function createAccounts ({ call, sql, marker, mailFolder, command }: Parts) {
  const idle = { users: [] as Account[], admins: [] as Account[] }
  const mails = new Map<string, string>()
  let count = 0
  let service: Promise<string> | null = null

  async function require (method: string, path: string, token: string | null, body: object | null): Promise<Record<string, never>> {
    const reply = await call(method, path, token, body)
    if (reply.status >= 300) throw new Error(`the run itself needs ${method} ${path}, which answered ${reply.status} ${reply.body}`)
    return JSON.parse(reply.body)
  }

  const newEmail = () => `fuzz-${++count}-${marker.slice(0, 4)}@example.com`
  const newPassword = () => `${marker}-${++count}`

  async function open (): Promise<Account> {
    const [email, password] = [newEmail(), newPassword()]
    const { accessToken, refreshToken, session, user } = await require(
      'POST',
      '/v1/register',
      null,
      { email, password, refresh: true }
    ) as unknown as {
      accessToken: string
      refreshToken: string
      session: { id: string }
      user: { id: string }
    }
    return { email, password, userId: user.id, sessionId: session.id, token: accessToken, refreshToken, personal: null, admin: false }
  }

  /** Promotes the user in the database, as the operator's command does; their next login is an admin's. */
  async function openAdmin (): Promise<Account> {
    const account = await open()
    await sql`update users set role = 'admin' where id = ${account.userId}`
    const { accessToken, refreshToken, session } = await require(
      'POST',
      '/v1/login',
      null,
      { email: account.email, password: account.password, refresh: true }
    ) as unknown as {
      accessToken: string
      refreshToken: string
      session: { id: string }
    }
    return { ...account, token: accessToken, refreshToken, sessionId: session.id, admin: true }
  }

  /** The folder's mails by file name, decoded from quoted-printable. */
  function readMails (): void {
    if (!existsSync(mailFolder)) return
    for (const name of readdirSync(mailFolder, { recursive: true, encoding: 'utf8' })) {
      if (mails.has(name) || !/\.\w+$/.test(name)) continue
      mails.set(name, readFileSync(join(mailFolder, name), 'utf8').replace(/=\r?\n/g, '').replace(/=3D/g, '='))
    }
  }

  /** Begins to add an authenticator app; returns the code that confirms it. */
  async function beginTotp (account: Account): Promise<string> {
    account.enrolled = true
    const { uri } = await require('POST', '/v1/totp', account.token, { password: account.password }) as unknown as { uri: string }
    return createPhone(uri, { now: Date.now }).code()
  }

  const tokensIn = (text: string) => [...text.matchAll(/#token=([\w.~-]+)/g)].map(([, token]) => token as string)

  return {
    marker,
    newEmail,
    newPassword,
    borrow: async (): Promise<Account> => idle.users.pop() ?? await open(),
    borrowAdmin: async (): Promise<Account> => idle.admins.pop() ?? await openAdmin(),
    giveBack (account: Account): void { if (account.enrolled !== true) idle[account.admin ? 'admins' : 'users'].push(account) },

    beginTotp,

    /** An account with an authenticator app, and its recovery codes. */
    async borrowEnrolled (): Promise<{ account: Account, recoveryCodes: string[] }> {
      const account = idle.users.pop() ?? await open()
      const code = await beginTotp(account)
      const { recoveryCodes } = await require('POST', '/v1/totp/confirm', account.token, { code }) as unknown as { recoveryCodes: string[] }
      return { account, recoveryCodes }
    },

    /** The account's personal token, created on first use. */
    async personalOf (account: Account): Promise<{ id: string, token: string }> {
      if (account.personal === null) {
        const { accessToken, token } = await require(
          'POST',
          '/v1/tokens',
          account.token,
          { name: 'fuzz', password: account.password }
        ) as unknown as {
          accessToken: string
          token: { id: string }
        }
        account.personal = { id: token.id, token: accessToken }
      }
      return account.personal
    },

    /** The token of a service that may introspect, shared by all requests. */
    serviceToken: (): Promise<string> =>
      service ??= command('services:create', '--name', 'fuzz', '--json').then(printed =>
        /lk[a-z]_[0-9A-Za-z]{50}/.exec(printed)?.[0] ?? 'none'),

    /** A service that the request may delete. */
    async newServiceId (): Promise<string> {
      const [row] = await sql<Array<{ id: string }>>`insert into tokens (id, hash, kind, abilities, name, created_at) values (gen_random_uuid(), sha256(gen_random_uuid()::text::bytea), 'service', '{introspect}', gen_random_uuid(), now()) returning id`
      return row?.id ?? ''
    },

    /**
     * Runs `trigger` and returns the token, beginning with `prefix`, of the mail that it sends to `email`. Throws if none arrives within a
     * minute.
     */
    async mailed (email: string, prefix: string, trigger: () => Promise<Incoming>): Promise<string> {
      const tokensTo = () => {
        readMails()
        return [...mails.values()].filter(text => text.includes(email)).flatMap(tokensIn).filter(token => token.startsWith(prefix))
      }
      const before = new Set(tokensTo())
      const reply = await trigger()
      let found: string | undefined
      await becomesTrue(() => (found = tokensTo().find(token => !before.has(token))) !== undefined, 60_000)
      if (found === undefined) throw new Error(`no mail with #token= came to ${email} within a minute, after ${reply.status}`)
      return found
    },

    call,

    /** Every token mailed during the run. */
    mailedTokens (): string[] {
      readMails()
      return [...mails.values()].flatMap(tokensIn)
    }
  }
}
