import type { Account, World } from './accounts.js'
import { type Choices, type Schema, valuesOf } from './values.js'

export interface Answer { content?: Record<string, { schema: Schema }> }

/** A method of a path of /openapi.json. */
export interface Operation { name: string, method: string, path: string, security: unknown[], body: Schema | null, form: Schema | null, query: Array<{ name: string, required: boolean, schema: Schema }>, responses: Record<string, Answer> }

/** What makes a request of an operation a valid one. `concerns` are the accounts that it may leave different. */
export interface Valid { actor: Account | null, concerns: Account[], params: Record<string, string>, body: Record<string, unknown> | null, query?: Record<string, string>, authorization?: string }

type Recipe = (world: World, body: Record<string, unknown>) => Promise<Valid>

const alone = (body: Record<string, unknown> | null = null): Valid => ({ actor: null, concerns: [], params: {}, body })

/** Bodies that need more than their schema says; a new route without an entry gets a caller, ids of its own, and what the schema gives. */
const recipes: Record<string, Recipe> = {
  'POST /v1/register': async (world, body) => alone({ ...body, email: world.newEmail(), password: world.newPassword() }),
  'POST /v1/login': async (world, body) => {
    const account = await world.borrow()
    return { ...alone({ ...body, email: account.email, password: account.password }), concerns: [account] }
  },
  'POST /v1/refresh': async world => {
    const account = await world.borrow()
    return { ...alone({ refreshToken: account.refreshToken }), concerns: [account] }
  },
  'POST /v1/logout': callerOnly,
  'POST /v1/logout-all': callerOnly,
  'PUT /v1/password': async (world, body) => {
    const actor = await world.borrow()
    return { ...alone({ ...body, currentPassword: actor.password, newPassword: world.newPassword() }), actor, concerns: [actor] }
  },
  'POST /v1/tokens': async (world, body) => {
    const actor = await world.borrow()
    return { ...alone({ ...body, ...'password' in body ? { password: actor.password } : {} }), actor, concerns: [actor] }
  },
  'PATCH /v1/me': async (world, body) => {
    const actor = await world.borrow()
    return { ...alone({ ...body, ...'email' in body ? { email: world.newEmail() } : {}, ...'password' in body ? { password: actor.password } : {} }), actor, concerns: [actor] }
  },
  'DELETE /v1/me': async (world, body) => {
    const actor = await world.borrow()
    return { ...alone(Object.keys(body).length === 0 ? null : { ...body, password: actor.password }), actor, concerns: [actor] }
  },
  'POST /v1/password/forgot': async world => {
    const account = await world.borrow()
    return { ...alone({ email: account.email }), concerns: [account] }
  },
  'POST /v1/password/reset': async world => {
    const account = await world.borrow()
    const token = await world.mailed(account.email, 'lkmr_', () => world.call('POST', '/v1/password/forgot', null, { email: account.email }))
    return { ...alone({ token, password: world.newPassword() }), concerns: [account] }
  },
  'POST /v1/email/verify': async world => {
    const account = await world.borrow()
    const token = await world.mailed(account.email, 'lkmv_', () => world.call('POST', '/v1/email/verify/send', account.token, null))
    return { ...alone({ token }), concerns: [account] }
  },
  'POST /v1/admin/users': async (world, body) => {
    const actor = await world.borrowAdmin()
    return { ...alone({ ...body, email: world.newEmail(), ...'password' in body ? { password: world.newPassword() } : {}, ...'currentPassword' in body ? { currentPassword: actor.password } : {} }), actor }
  },
  'PUT /v1/admin/users/{id}/role': async (world, body) => {
    const [actor, other] = [await world.borrowAdmin(), await world.borrow()]
    return { ...alone({ ...body, ...'password' in body ? { password: actor.password } : {} }), actor, concerns: [other], params: { id: other.userId } }
  },
  'DELETE /v1/admin/services/{id}': async world => ({ ...alone(), actor: await world.borrowAdmin(), params: { id: await world.newServiceId() } }),
  'POST /oauth/introspect': async world => {
    const account = await world.borrow()
    return { ...alone({ token: account.token }), concerns: [account], authorization: `Bearer ${await world.serviceToken()}` }
  },
  'POST /oauth/revoke': async world => {
    const account = await world.borrow()
    return { ...alone({ token: account.token }), concerns: [account] }
  },
  'POST /oauth/token': async world => {
    const account = await world.borrow()
    return { ...alone({ grant_type: 'refresh_token', refresh_token: account.refreshToken }), concerns: [account] }
  }
}

/** What makes every revocation wait for seconds is asked of admins seldom, and of others else. */
const costly = new Set(['POST /v1/admin/cache/clear'])

async function callerOnly (world: World): Promise<Valid> {
  const actor = await world.borrow()
  return { ...alone(), actor, concerns: [actor] }
}

/** A request of `operation` that should succeed. */
export async function validFor (operation: Operation, world: World, choices: Choices): Promise<Valid> {
  const { name, path, security, form, query } = operation
  const body = operation.body ?? form
  const generated = body === null ? {} : (choices.sample(valuesOf(body)) ?? {}) as Record<string, unknown>
  const given = Object.fromEntries(query.filter(({ required }) => required || choices.chance(0.3)).map(one => [one.name, String(choices.sample(valuesOf(one.schema)))]))
  const recipe = recipes[name]
  const valid = recipe === undefined ? { ...await callerFor(path, security.length > 0, costly.has(name) && choices.chance(0.95), world), body: body === null ? null : generated } : await recipe(world, generated)
  return { ...valid, query: given }
}

async function callerFor (path: string, needsToken: boolean, byUser: boolean, world: World): Promise<Valid> {
  if (!needsToken) return alone()
  if (path.startsWith('/v1/admin/') && !byUser) {
    const [actor, other] = [await world.borrowAdmin(), await world.borrow()]
    return { ...alone(), actor, concerns: [other], params: { id: other.userId } }
  }
  const actor = await world.borrow()
  const id = !path.includes('{') ? '' : path.startsWith('/v1/tokens/') ? (await world.personalOf(actor)).id : actor.sessionId
  return { ...alone(), actor, concerns: [actor], params: { id } }
}
