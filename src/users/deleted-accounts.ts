import type { User } from './user.js'

/**
 * Starts the stored address of an account that is being deleted. No real address can: each of them has an @, and this plus an id has none.
 */
export const deletedEmailPrefix = 'deleted:'

/** Whether the account is being deleted: no request can find or use it any more. */
export const isMarkedDeleted = ({ email }: Pick<User, 'email'>): boolean => email.startsWith(deletedEmailPrefix)
