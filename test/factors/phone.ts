import type { LightMyRequestResponse as Response } from 'fastify'
import { TOTP, URI } from 'otpauth'
import type { TestApp } from '../fixtures/app.js'

/** An authenticator app that has scanned the QR code. */
export interface Phone {
  /** The code of now, or of `steps` half minutes later. */
  code (steps?: number): string
}

export function createPhone (uri: string, { now }: { now (): number }): Phone {
  const totp = URI.parse(uri)
  if (!(totp instanceof TOTP)) throw new Error('no TOTP')
  return { code: (steps = 0) => totp.generate({ timestamp: now() + steps * 30_000 }) }
}

export interface Tokens { accessToken: string, refreshToken?: string, session: { id: string }, endedSessions: number }

/** An account with an authenticator app, confirmed by the code of the step before this one; so the current one is unused. */
export async function enrol (app: TestApp, { body = {} }: { body?: object } = {}) {
  const account = await app.account(body)
  return { ...account, ...await addPhone(app, account.token) }
}

/** Adds an app to the account of the session `token`. */
export async function addPhone (app: TestApp, token: string, proof: object = {}) {
  const begun = await app.call('POST', '/v1/totp', { token, body: proof })
  if (begun.statusCode !== 201) throw new Error(`POST /v1/totp answered ${begun.statusCode} ${begun.body}`)
  const { uri, secret } = begun.json<{ uri: string, secret: string }>()
  const phone = createPhone(uri, app.clock)
  const confirmed = await app.call('POST', '/v1/totp/confirm', { token, body: { code: phone.code(-1) } })
  if (confirmed.statusCode !== 200) throw new Error(`POST /v1/totp/confirm answered ${confirmed.statusCode} ${confirmed.body}`)
  return { phone, secret, recoveryCodes: confirmed.json<{ recoveryCodes: string[] }>().recoveryCodes }
}

/** The challenge of a login whose password is right. */
export async function challengeOf (app: TestApp, email: string, body: object = {}): Promise<string> {
  const reply = await app.login(email, body)
  if (reply.statusCode !== 403) throw new Error(`the login answered ${reply.statusCode} ${reply.body}`)
  return reply.json<{ challenge: string }>().challenge
}

export const answer = (app: TestApp, body: object, headers: Record<string, string> = {}): Promise<Response> =>
  app.call('POST', '/v1/login/second-factor', { body, headers })

/** A whole login with both factors. */
export async function logInWith (app: TestApp, email: string, proof: object, options: object = {}): Promise<Tokens> {
  const reply = await answer(app, { challenge: await challengeOf(app, email), ...proof, ...options })
  if (reply.statusCode !== 200) throw new Error(`the second step answered ${reply.statusCode} ${reply.body}`)
  return reply.json<Tokens>()
}

/** Status and code of a refusal. */
export const refusalIn = (reply: Response) => [reply.statusCode, reply.json<{ code?: string }>().code]
