import { readAtMost } from './secret-files.js'

/** A key of the vault: 32 bytes, and their name. */
export interface VaultKey { id: string, key: Buffer }

/** The keys of a file, in its order, and what is wrong with it: by the numbers of lines, without what stands in them. */
export interface VaultKeysFile { keys: VaultKey[], problems: string[] }

const maxBytes = 64 * 1024
const line = /^([A-Za-z0-9._-]{1,32}):([A-Za-z0-9+/]{43}=)$/

/** Reads the file at `path`; `name` is what problems call it. */
export function readVaultKeys (path: string, name = 'VAULT_KEYS_FILE'): VaultKeysFile {
  try {
    const bytes = readAtMost(path, maxBytes + 1)
    if (bytes.length > maxBytes) return { keys: [], problems: [`${name} must be a file of at most ${maxBytes} bytes`] }
    return parseVaultKeys(bytes.toString('latin1'), name)
  } catch (error) {
    return { keys: [], problems: [`${name} must be a file that can be read (${(error as NodeJS.ErrnoException).code})`] }
  }
}

/** A line is `id:` and the base64 of 32 bytes; an empty one, or one that begins with #, is none. */
export function parseVaultKeys (text: string, name: string): VaultKeysFile {
  const keys: VaultKey[] = []
  const problems: string[] = []
  for (const [i, content] of text.split(/\r?\n/).entries()) {
    if (content.trim() === '' || content.startsWith('#')) continue
    const [, id, base64] = line.exec(content) ?? []
    if (id === undefined || base64 === undefined) problems.push(`${name} line ${i + 1} must be id:base64 of 32 bytes`)
    else if (keys.some(key => key.id === id)) problems.push(`${name} line ${i + 1} has the id of an earlier line`)
    else keys.push({ id, key: Buffer.from(base64, 'base64') })
  }
  if (keys.length === 0 && problems.length === 0) problems.push(`${name} must have a key: a line of id:base64 of 32 bytes`)
  return { keys, problems }
}
