import type { Account, Accounts } from './accounts.js'
import { type Choices, type Schema, valuesOf } from './values.js'

export interface Answer { content?: Record<string, { schema: Schema }> }

/** A method of a path of /openapi.json. */
export interface Operation {
  name: string
  method: string
  path: string
  security: unknown[]
  body: Schema | null
  form: Schema | null
  query: Array<{ name: string, required: boolean, schema: Schema }>
  responses: Record<string, Answer>
}

/** The parts of a valid request. `concerns` are the accounts that it may change. */
export interface Valid {
  actor: Account | null
  concerns: Account[]
  params: Record<string, string>
  body: Record<string, unknown> | null
  query?: Record<string, string>
  authorization?: string
}

type Recipe = (accounts: Accounts, body: Record<string, unknown>) => Promise<Valid>

const alone = (body: Record<string, unknown> | null = null): Valid => ({ actor: null, concerns: [], params: {}, body })

/** Operations that need more than a body made from their schema; one without an entry gets a caller, its ids and a body from its schema. */
const recipes: Record<string, Recipe> = {
  'POST /v1/register': async (accounts, body) => alone({ ...body, email: accounts.newEmail(), password: accounts.newPassword() }),
  'POST /v1/login': async (accounts, body) => {
    const account = await accounts.borrow()
    return { ...alone({ ...body, email: account.email, password: account.password }), concerns: [account] }
  },
  'POST /v1/login/second-factor': async (accounts, { totp: _totp, ...body }) => {
    const { account: { email, password }, recoveryCodes: [recoveryCode] } = await accounts.borrowEnrolled()
    const { challenge } = JSON.parse((await accounts.call('POST', '/v1/login', null, { email, password })).body) as { challenge: string }
    return alone({ ...body, challenge, recoveryCode })
  },
  'POST /v1/totp': async (accounts, body) => {
    const actor = await accounts.borrow()
    return { ...alone(Object.keys(body).length === 0 ? null : { password: actor.password }), actor, concerns: [actor] }
  },
  'POST /v1/totp/confirm': async accounts => {
    const actor = await accounts.borrow()
    return { ...alone({ code: await accounts.beginTotp(actor) }), actor, concerns: [actor] }
  },
  'DELETE /v1/totp': withRecoveryCode,
  'POST /v1/recovery-codes': withRecoveryCode,
  'DELETE /v1/admin/users/{id}/factors': async (accounts, body) => {
    const [actor, other] = [await accounts.borrowAdmin(), await accounts.borrow()]
    return {
      ...alone(Object.keys(body).length === 0 ? null : { password: actor.password }), actor, concerns: [other], params: { id: other.userId }
    }
  },
  'POST /v1/refresh': async accounts => {
    const account = await accounts.borrow()
    return { ...alone({ refreshToken: account.refreshToken }), concerns: [account] }
  },
  'POST /v1/logout': callerOnly,
  'POST /v1/logout-all': callerOnly,
  'PUT /v1/password': async (accounts, body) => {
    const actor = await accounts.borrow()
    return { ...alone({ ...body, currentPassword: actor.password, newPassword: accounts.newPassword() }), actor, concerns: [actor] }
  },
  'POST /v1/tokens': async (accounts, body) => {
    const actor = await accounts.borrow()
    return { ...alone({ ...body, ...'password' in body ? { password: actor.password } : {} }), actor, concerns: [actor] }
  },
  'PATCH /v1/me': async (accounts, body) => {
    const actor = await accounts.borrow()
    return {
      ...alone({
        ...body,
        ...'email' in body ? { email: accounts.newEmail() } : {},
        ...'password' in body ? { password: actor.password } : {}
      }),
      actor,
      concerns: [actor]
    }
  },
  'DELETE /v1/me': async (accounts, body) => {
    const actor = await accounts.borrow()
    return { ...alone(Object.keys(body).length === 0 ? null : { ...body, password: actor.password }), actor, concerns: [actor] }
  },
  'POST /v1/password/forgot': async accounts => {
    const account = await accounts.borrow()
    return { ...alone({ email: account.email }), concerns: [account] }
  },
  'POST /v1/password/reset': async accounts => {
    const account = await accounts.borrow()
    const token = await accounts.mailed(
      account.email,
      'lkmr_',
      () => accounts.call('POST', '/v1/password/forgot', null, { email: account.email })
    )
    return { ...alone({ token, password: accounts.newPassword() }), concerns: [account] }
  },
  'POST /v1/email/verify': async accounts => {
    const account = await accounts.borrow()
    const token = await accounts.mailed(account.email, 'lkmv_', () => accounts.call('POST', '/v1/email/verify/send', account.token, null))
    return { ...alone({ token }), concerns: [account] }
  },
  'POST /v1/admin/users': async (accounts, body) => {
    const actor = await accounts.borrowAdmin()
    return {
      ...alone({
        ...body,
        email: accounts.newEmail(),
        ...'password' in body ? { password: accounts.newPassword() } : {},
        ...'currentPassword' in body ? { currentPassword: actor.password } : {}
      }),
      actor
    }
  },
  'PUT /v1/admin/users/{id}/role': async (accounts, body) => {
    const [actor, other] = [await accounts.borrowAdmin(), await accounts.borrow()]
    return {
      ...alone({ ...body, ...'password' in body ? { password: actor.password } : {} }),
      actor,
      concerns: [other],
      params: { id: other.userId }
    }
  },
  'DELETE /v1/admin/services/{id}': async accounts =>
    ({ ...alone(), actor: await accounts.borrowAdmin(), params: { id: await accounts.newServiceId() } }),
  'POST /oauth/introspect': async accounts => {
    const account = await accounts.borrow()
    return { ...alone({ token: account.token }), concerns: [account], authorization: `Bearer ${await accounts.serviceToken()}` }
  },
  'POST /v1/introspections': async accounts => {
    const account = await accounts.borrow()
    return { ...alone({ tokens: [account.token] }), concerns: [account], authorization: `Bearer ${await accounts.serviceToken()}` }
  },
  'POST /oauth/revoke': async accounts => {
    const account = await accounts.borrow()
    return { ...alone({ token: account.token }), concerns: [account] }
  },
  'POST /oauth/token': async accounts => {
    const account = await accounts.borrow()
    return { ...alone({ grant_type: 'refresh_token', refresh_token: account.refreshToken }), concerns: [account] }
  }
}

/** Operations that delay every revocation for seconds are rarely sent by admins; otherwise by users, who are refused. */
const costly = new Set(['POST /v1/admin/cache/clear'])

async function withRecoveryCode (accounts: Accounts): Promise<Valid> {
  const { account, recoveryCodes: [recoveryCode] } = await accounts.borrowEnrolled()
  return { ...alone({ recoveryCode }), actor: account, concerns: [account] }
}

async function callerOnly (accounts: Accounts): Promise<Valid> {
  const actor = await accounts.borrow()
  return { ...alone(), actor, concerns: [actor] }
}

/** A request of `operation` that should succeed. */
export async function validFor (operation: Operation, accounts: Accounts, choices: Choices): Promise<Valid> {
  const { name, path, security, form, query } = operation
  const body = operation.body ?? form
  const generated = body === null ? {} : (choices.sample(valuesOf(body)) ?? {}) as Record<string, unknown>
  const given = Object.fromEntries(query.filter(({ required }) => required || choices.chance(0.3)).map(one =>
    [one.name, String(choices.sample(valuesOf(one.schema)))]))
  const recipe = recipes[name]
  const valid = recipe === undefined
    ? {
      ...await callerFor(path, security.length > 0, costly.has(name) && choices.chance(0.95), accounts),
      body: body === null ? null : generated
    }
    : await recipe(accounts, generated)
  return { ...valid, query: given }
}

async function callerFor (path: string, needsToken: boolean, byUser: boolean, accounts: Accounts): Promise<Valid> {
  if (!needsToken) return alone()
  if (path.startsWith('/v1/admin/') && !byUser) {
    const [actor, other] = [await accounts.borrowAdmin(), await accounts.borrow()]
    return { ...alone(), actor, concerns: [other], params: { id: other.userId } }
  }
  const actor = await accounts.borrow()
  const id = !path.includes('{') ? '' : path.startsWith('/v1/tokens/') ? (await accounts.personalOf(actor)).id : actor.sessionId
  return { ...alone(), actor, concerns: [actor], params: { id } }
}
