import type { User } from './user.js'

/** How the address of an account begins that is being deleted: no address does, for each has an @. */
export const buriedPrefix = 'deleted:'

/** Whether the account is being deleted: to everybody it is gone already. */
export const isBuried = ({ email }: Pick<User, 'email'>): boolean => email.startsWith(buriedPrefix)
