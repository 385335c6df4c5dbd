import type { Audit } from '../audit/service.js'
import type { RevokingTx, Transactions, Tx } from '../database/transaction.js'
import type { Challenge, Challenges } from '../factors/challenges.js'
import type { Revocation } from '../revocation/revocation.js'
import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { InsufficientAbilityError, InvalidCredentialsError, secondFactorRequired } from '../shared/errors.js'
import type { AuthenticationMethod } from '../tokens/principal.js'
import type { TokenHash } from '../tokens/token.js'
import type { UserService, VerifiedCredentials } from '../users/service.js'
import type { User } from '../users/user.js'
import type { SessionEnder } from './ending.js'
import type { IssuedTokens, LoginOptions, SessionOpener } from './opening.js'
import type { SessionStore } from './store.js'

/** Sessions that an account may have whatever SESSION_LIMIT says: one change must not end more than can be settled at once. */
export const mostSessions = 1_000

export interface LoginRequest extends LoginOptions { email: string, password: string }
export interface RegistrationRequest extends LoginRequest { name?: string | undefined }

/** Opens sessions for people who prove who they are. */
export interface Login {
  /** Makes an account and opens its first session. Throws EmailTakenError, PasswordRejectedError, RegistrationClosedError. */
  register (request: RegistrationRequest, device: Device): Promise<IssuedTokens>
  /** The first session of the account that `tx` has just made. */
  openFirst (tx: Tx, user: User, options: LoginOptions, device: Device): Promise<IssuedTokens>
  /**
   * Opens a session; ends the oldest ones past SESSION_LIMIT. Throws InvalidCredentialsError and 429 errors; SecondFactorRequiredError,
   * with a challenge, where the password is right and the account has a second factor.
   */
  logIn (request: LoginRequest, device: Device): Promise<IssuedTokens>
}

interface LoginDependencies {
  store: Pick<SessionStore, 'unendedBeyond'>
  users: Pick<UserService,
    'prepareRegistration'
      | 'recordLogin'
      | 'requireCredentials'
      | 'requireSamePassword'
      | 'lockUnchanged'
      | 'setPassword'
      | 'clearLoginLimit'>
  revocation: Pick<Revocation, 'revoke'>
  transactions: Transactions
  audit: Pick<Audit, 'record'>
  clock: Clock
  challenges: Pick<Challenges, 'issue'>
  opener: Pick<SessionOpener, 'open'>
  ender: Pick<SessionEnder, 'endSessions'>
  /** 0: as many as an account can have at all. */
  sessionLimit: number
}

/** A session just opened, and the hashes of those that ended for it; null where none did. */
export interface Opened { issued: IssuedTokens, named: TokenHash[] | null }

type Outcome = { issued: IssuedTokens } | { challenge: Challenge } | null

export function createLogin (
  { store, users, revocation, transactions, audit, clock, challenges, opener, ender, sessionLimit }: LoginDependencies
): Login & { openReplacing: OpenReplacing } {
  async function register (request: RegistrationRequest, device: Device): Promise<IssuedTokens> {
    requireGrantable(request.abilities)
    const insertUser = await users.prepareRegistration(request)
    return await transactions.transaction(async tx => openFirst(tx, await insertUser(tx), request, device))
  }

  async function openFirst (tx: Tx, user: User, options: LoginOptions, device: Device): Promise<IssuedTokens> {
    await users.recordLogin(tx, user, device)
    const issued = await opener.open(tx, user, options, device, ['pwd'])
    await audit.record(tx, device, { type: 'registered', userId: user.id, sessionId: issued.session.id })
    return issued
  }

  async function logIn (request: LoginRequest, device: Device): Promise<IssuedTokens> {
    requireGrantable(request.abilities)
    const seen = await users.requireCredentials(request.email, request.password, device)
    // Another login may have rehashed the password meanwhile. Then the same password still opens the account.
    const outcome = await openUnchanged(seen, request, device) ??
      await openUnchanged(await users.requireSamePassword(seen, request.password), request, device)
    if (outcome === null) throw new InvalidCredentialsError()
    if ('challenge' in outcome) {
      await seen.attempt.withdrawn()
      const { plain, factors, expiresInSeconds } = outcome.challenge
      throw secondFactorRequired(factors, { challenge: plain.reveal(), expiresIn: expiresInSeconds })
    }
    await users.clearLoginLimit(outcome.issued.user, device.address)
    return outcome.issued
  }

  /** Null when the password has changed, or the account has been disabled, while bcrypt was running. */
  const openUnchanged = (
    seen: VerifiedCredentials,
    request: LoginRequest,
    device: Device
  ) => revocation.revoke<Outcome>(async tx => {
    const locked = await users.lockUnchanged(tx, seen)
    if (locked === null) return { named: null, outcome: null }
    const { id } = locked.user
    if (seen.renewedHash !== null) await users.setPassword(tx, id, seen.renewedHash)
    if (locked.secondFactor) return { named: null, outcome: { challenge: await challenges.issue(tx, id, device) } }
    const { issued, named } = await openReplacing(tx, locked.user, request, device, ['pwd'])
    return { named, outcome: { issued } }
  }, { of: seen.user.id })

  async function openReplacing (
    tx: RevokingTx,
    user: User,
    options: LoginOptions,
    device: Device,
    amr: AuthenticationMethod[]
  ): Promise<Opened> {
    const { id } = user
    const replaced = await store.unendedBeyond(tx, id, (sessionLimit === 0 ? mostSessions : sessionLimit) - 1, new Date(clock.now()))
    const named = await ender.endSessions(tx, id, replaced.map(session => session.id), { device, cause: 'session_limit' })
    const endedSessions = replaced.filter(({ live }) => live).length
    const issued = { ...await opener.open(tx, user, options, device, amr), endedSessions }
    await users.recordLogin(tx, user, device)
    await audit.record(tx, device, { type: 'login_succeeded', userId: id, sessionId: issued.session.id })
    return { issued, named: named.length > 0 ? named : null }
  }

  return { register, openFirst, logIn, openReplacing }
}

/** In a transaction that holds the user's row: opens a session, and ends the oldest ones past SESSION_LIMIT. */
export type OpenReplacing = (
  tx: RevokingTx, user: User, options: LoginOptions, device: Device, amr: AuthenticationMethod[]
) => Promise<Opened>

/** Only `services:create` grants `introspect`; throws InsufficientAbilityError. */
export function requireGrantable (abilities: string[] | undefined): void {
  if (abilities?.includes('introspect')) throw new InsufficientAbilityError('introspect')
}
