import type { Tx } from '../database/transaction.js'
import type { Device } from '../shared/device.js'
import type { User } from './user.js'

/** How an account gets another address: by proving it. */
export interface EmailChanges {
  /**
   * Writes to `email` for a proof, and to the old address as a warning, once `tx` is committed; until the proof comes the old one stays.
   * Nobody learns whether `email` is taken.
   */
  request (tx: Tx, user: User, email: string, device: Device): Promise<void>
}
