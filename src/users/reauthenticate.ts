import type { Clock } from '../shared/clock.js'
import type { Device } from '../shared/device.js'
import { ReauthenticateError } from '../shared/errors.js'
import type { Principal } from '../tokens/principal.js'
import type { UserService } from './service.js'

/** How long a login proves that its owner is there; refreshing makes no session younger. */
export const recentMs = 15 * 60_000

interface Parts { users: Pick<UserService, 'requireCurrentPassword'>, clock: Clock }

/**
 * Step-up: for what a stolen token alone must not do. Passes with the caller's password, counted with the logins, or within 15 minutes of his
 * login. Throws ReauthenticateError, or WrongPasswordError for a password that is wrong, however young the session.
 */
export type Reauthenticate = ReturnType<typeof createReauthenticate>

export function createReauthenticate ({ users, clock }: Parts) {
  return async (caller: Principal, password: string | undefined, device: Device): Promise<void> => {
    if (password !== undefined) await users.requireCurrentPassword(caller.user.id, password, device)
    else if (caller.session === null || clock.now() - Date.parse(caller.session.createdAt) >= recentMs) throw new ReauthenticateError()
  }
}
