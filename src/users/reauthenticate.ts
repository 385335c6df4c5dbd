import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { ReauthenticateError } from '../shared/errors.js'
import type { Principal } from '../tokens/principal.js'
import type { CredentialsCheck } from './credentials.js'

/** How long after a login the password isn't asked for again. Refreshing a session doesn't extend it. */
export const recentMs = 15 * 60_000

/**
 * Step-up: passes within 15 minutes of the caller's login, or with their password, which counts as a login attempt. A stolen token alone
 * doesn't pass. Throws ReauthenticateError, or WrongPasswordError for a wrong password, however recent the login.
 */
export type Reauthenticate = (caller: Principal, password: string | undefined, device: Device) => Promise<void>

export function createReauthenticate ({
  users,
  clock
}: { users: Pick<CredentialsCheck, 'requireCurrentPassword'>, clock: Clock }): Reauthenticate {
  return async (caller, password, device) => {
    if (password !== undefined) await users.requireCurrentPassword(caller.user.id, password, device)
    else if (caller.session === null || clock.now() - Date.parse(caller.session.createdAt) >= recentMs) throw new ReauthenticateError()
  }
}
