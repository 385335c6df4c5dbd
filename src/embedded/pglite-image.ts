import { lstat, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { schemaDigest } from '../../db/migrate.js'
import type { Database } from '../database/database.js'
import { createPglite } from './pglite.js'

/**
 * A migrated database in memory, for tests. Initialising PostgreSQL takes seconds, so it is done once per schema and its image is kept in
 * the system's temporary folder. All databases from one image have the same keys.
 */
export async function createInMemory (): Promise<Database> {
  const folder = await requireOwnFolder()
  const file = join(folder, `${schemaDigest()}.tar`)
  const kept = await readFile(file).catch(() => null)
  if (kept !== null) return await createPglite(null, { image: new Blob([kept]) })

  const database = await createPglite(null)
  await database.migrate()
  const image = Buffer.from(await (await database.dump()).arrayBuffer())
  // Several test processes may do this at once: each writes its own file, and the last rename wins.
  await writeFile(`${file}.${process.pid}`, image, { mode: 0o600 })
  await rename(`${file}.${process.pid}`, file)
  return database
}

/** Other users can write to the system's temporary folder: an image must come from a folder that is this user's own. */
async function requireOwnFolder (): Promise<string> {
  const { uid } = userInfo()
  const folder = join(tmpdir(), `latchkey-images-${uid}`)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const found = await lstat(folder)
  const isOwn = found.isDirectory() && (uid === -1 || (found.uid === uid && (found.mode & 0o022) === 0))
  if (!isOwn) throw new Error(`${folder} belongs to another user, or others can write to it: remove it`)
  return folder
}
