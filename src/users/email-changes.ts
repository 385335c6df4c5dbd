import type { Tx } from '../database/transaction.js'
import type { Device } from '../shared/device.js'
import type { User } from './user.js'

/** Changes of address, which count once the new address has been verified. */
export interface EmailChanges {
  /**
   * Once `tx` is committed, mails a token to `email` and a warning to the present address, which stays until the token is used.
   * The answer is the same whether or not `email` has an account.
   */
  request (tx: Tx, user: User, email: string, device: Device): Promise<void>
}
