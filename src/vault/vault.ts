import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { NotSupportedError, UnavailableError } from '../shared/errors.js'

/** The layout of what `seal` returns: this byte, the length of the key's id, the id, the nonce, the ciphertext, the tag. */
const version = 1
/** AES-256-GCM with the nonce and tag that NIST SP 800-38D recommends. */
const cipher = 'aes-256-gcm'
const nonceBytes = 12
const tagBytes = 16

/** A key of the vault: 32 bytes, and the name under which VAULT_KEYS_FILE has them. */
export interface VaultKey { id: string, key: Buffer }

/** Whose secret it is, what for, and the column that it stands in: a sealed secret opens nowhere else. */
export interface SealContext { userId: string, purpose: string, column: string }

/** Encrypts secrets before they reach the database, under keys that the database doesn't have. */
export interface Vault {
  /** False without a key: then nothing can be sealed or opened. */
  readonly hasKeys: boolean
  /** Encrypts under the first key. Throws NotSupportedError (400) where there is none. */
  seal (plain: Uint8Array, context: SealContext): Buffer
  /**
   * What `seal` was given. Throws UnavailableError (503) for bytes that aren't a whole secret of this context, or whose key is missing:
   * its `detail` says which, for the log.
   */
  open (sealed: Uint8Array, context: SealContext): Buffer
  /** Whether it is sealed under the first key. What isn't has to be sealed again before its key may go. */
  isCurrent (sealed: Uint8Array): boolean
}

/** `keys`: the first encrypts, all decrypt. */
export function createVault (keys: VaultKey[]): Vault {
  const byId = new Map(keys.map(key => [key.id, key]))
  const [current] = keys

  return {
    hasKeys: current !== undefined,

    seal (plain, context) {
      if (current === undefined) throw new NotSupportedError('This server keeps no secrets of users: set VAULT_KEYS_FILE')
      const nonce = randomBytes(nonceBytes)
      const sealing = createCipheriv(cipher, current.key, nonce, { authTagLength: tagBytes }).setAAD(boundTo(current.id, context))
      const ciphertext = Buffer.concat([sealing.update(plain), sealing.final()])
      return Buffer.concat([headerOf(current.id), nonce, ciphertext, sealing.getAuthTag()])
    },

    open (sealed, context) {
      const parts = partsOf(sealed)
      const key = parts === null ? undefined : byId.get(parts.id)
      if (parts === null) throw cannotOpen('VAULT_DAMAGED')
      if (key === undefined) throw cannotOpen('VAULT_KEY_MISSING')
      try {
        const opening = createDecipheriv(cipher, key.key, parts.nonce, { authTagLength: tagBytes })
          .setAAD(boundTo(key.id, context))
          .setAuthTag(parts.tag)
        return Buffer.concat([opening.update(parts.ciphertext), opening.final()])
      } catch {
        throw cannotOpen('VAULT_DAMAGED')
      }
    },

    isCurrent: sealed => current !== undefined && partsOf(sealed)?.id === current.id
  }
}

function headerOf (id: string): Buffer {
  const name = Buffer.from(id)
  return Buffer.concat([Buffer.from([version, name.length]), name])
}

/** Null for bytes that `seal` can't have returned. */
function partsOf (sealed: Uint8Array): { id: string, nonce: Buffer, ciphertext: Buffer, tag: Buffer } | null {
  const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength)
  const idEnds = 2 + (bytes[1] ?? 0)
  const tagBegins = bytes.length - tagBytes
  if (bytes[0] !== version || tagBegins < idEnds + nonceBytes) return null
  return {
    id: bytes.toString('utf8', 2, idEnds),
    nonce: bytes.subarray(idEnds, idEnds + nonceBytes),
    ciphertext: bytes.subarray(idEnds + nonceBytes, tagBegins),
    tag: bytes.subarray(tagBegins)
  }
}

/** The additional data: an array of strings in JSON reads in one way alone. */
function boundTo (keyId: string, { userId, purpose, column }: SealContext): Buffer {
  return Buffer.from(JSON.stringify([keyId, userId, purpose, column]))
}

function cannotOpen (detail: 'VAULT_DAMAGED' | 'VAULT_KEY_MISSING'): Error {
  return Object.assign(new UnavailableError(), { detail })
}
