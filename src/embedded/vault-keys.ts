import { randomBytes } from 'node:crypto'
import { open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { type Config, ConfigError } from '../config/config.js'
import { readVaultKeys, type VaultKey } from '../config/vault-keys.js'
import { readOptionalFile } from './optional-file.js'

/**
 * The keys of the vault: those of VAULT_KEYS_FILE, or for an embedded database those in DATA_DIR, made there the first time, for their
 * owner alone (0600). None where a database server has no file of keys. Throws ConfigError. Call it with DATA_DIR's lock held.
 */
export async function requireVaultKeys (
  { vaultKeys, databaseUrl, dataDir }: Pick<Config, 'vaultKeys' | 'databaseUrl' | 'dataDir'>
): Promise<VaultKey[]> {
  if (databaseUrl !== undefined || vaultKeys.length > 0) return vaultKeys
  const path = join(dataDir, 'vault-keys')
  if (await readOptionalFile(path) === null) await makeKeys(path)
  const { keys, problems } = readVaultKeys(path, 'vault-keys in DATA_DIR')
  if (problems.length > 0) throw new ConfigError(problems.join('; '))
  return keys
}

/** Whole or not at all, and on the disk before anything is sealed under it. */
async function makeKeys (path: string): Promise<void> {
  const file = await open(`${path}.new`, 'w', 0o600)
  try {
    await file.chmod(0o600)
    await file.writeFile(`1:${randomBytes(32).toString('base64')}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(`${path}.new`, path)
}
