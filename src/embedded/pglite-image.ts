import { lstat, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { schemaDigest } from '../../db/migrate.js'
import type { Database } from '../database/database.js'
import { createPglite } from './pglite.js'

/**
 * A migrated database in memory, for tests. Initialising PostgreSQL takes seconds: that is done once for a schema, and its image kept in
 * the system's folder for temporary files. So all of them have the same keys.
 */
export async function createInMemory (): Promise<Database> {
  const folder = await requireOwnFolder()
  const file = join(folder, `${schemaDigest()}.tar`)
  const kept = await readFile(file).catch(() => null)
  if (kept !== null) return await createPglite(null, new Blob([kept]))

  const database = await createPglite(null)
  await database.migrate()
  const image = Buffer.from(await (await database.dump()).arrayBuffer())
  // Several test processes may be at it: each writes a file of its own, and the last one stays.
  await writeFile(`${file}.${process.pid}`, image, { mode: 0o600 })
  await rename(`${file}.${process.pid}`, file)
  return database
}

/** Others may write to the system's folder, too: what is loaded from there has to be this user's own. */
async function requireOwnFolder (): Promise<string> {
  const { uid } = userInfo()
  const folder = join(tmpdir(), `latchkey-images-${uid}`)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const found = await lstat(folder)
  if (!found.isDirectory() || (uid !== -1 && (found.uid !== uid || (found.mode & 0o022) !== 0))) throw new Error(`${folder} belongs to somebody else: remove it`)
  return folder
}
