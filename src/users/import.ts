import { stat } from 'node:fs/promises'
import type { Audit } from '../audit/service.js'
import type { Transactions } from '../database/transaction.js'
import type { Clock } from '../shared/clock.js'
import type { OnProgress } from '../shared/progress.js'
import { type Batch, type Candidate, type Problem, readBatches } from './import-file.js'
import type { ImportStore, Taken } from './import-store.js'

/** The whole import is one transaction of many statements, each of which has its own timeout. */
const timeoutMs = 3_600_000

/** `users` lines were read; with any problem, or in a dry run, none of them was imported. */
export interface ImportReport { users: number, imported: number, dryRun: boolean, problems: Problem[] }

/** Imports accounts from a file of JSON lines: all of them, or none. Rejects when the file can't be read. */
export type UserImport = (options: { path: string, dryRun: boolean, onProgress?: OnProgress | undefined }) => Promise<ImportReport>

interface UserImportDependencies {
  store: ImportStore
  transactions: Transactions
  audit: Pick<Audit, 'record'>
  clock: Clock
}

/** A file, and what hears of the progress in it. */
interface Source { path: string, size: number, onProgress: OnProgress | undefined }

export function createUserImport ({ store, transactions, audit, clock }: UserImportDependencies): UserImport {
  return async ({ path, dryRun, onProgress }) => {
    const file = await stat(path)
    if (!file.isFile()) throw new Error(`${path} is not a regular file: it is read twice, to check every line before any is imported`)
    const source = { path, size: file.size, onProgress }
    const { users, problems } = await check(source)
    if (problems.length > 0 || dryRun) return { users, imported: 0, dryRun, problems }
    const late = await insertAll(source)
    return { users, imported: late.length > 0 ? 0 : users, dryRun, problems: late }
  }

  async function check (source: Source): Promise<{ users: number, problems: Problem[] }> {
    const problems: Problem[] = []
    const [emails, ids] = [new Map<string, number>(), new Map<string, number>()]
    let users = 0
    for await (const { found, bad } of read(source, 'Checking')) {
      users += found.length + bad.length
      problems.push(...bad)
      const taken = await store.findTaken(found.map(({ user }) => user))
      for (const { line, user: { id, email } } of found) {
        const reasons = [
          repeated('email', emails.get(email)) ?? existing('email', taken.emails.has(email)),
          id === undefined ? null : repeated('id', ids.get(id)) ?? existing('id', taken.ids.has(id))
        ].filter(reason => reason !== null)
        if (reasons.length > 0) problems.push({ line, reason: reasons.join('; ') })
        if (!emails.has(email)) emails.set(email, line)
        if (id !== undefined && !ids.has(id)) ids.set(id, line)
      }
    }
    return { users, problems: problems.sort((one, other) => one.line - other.line) }
  }

  /** Checks again while importing: somebody may have registered meanwhile, or the file may have changed. Then nothing is imported. */
  async function insertAll (source: Source): Promise<Problem[]> {
    const problems: Problem[] = []
    try {
      await transactions.transaction(async tx => {
        let imported = 0
        for await (const { found, bad } of read(source, 'Importing')) {
          const inserted = await store.insertMany(tx, found.map(({ user }) => user))
          imported += inserted.size
          problems.push(...bad)
          if (inserted.size < found.length) {
            problems.push(...refusedOf(found, inserted, await store.findTaken(found.map(({ user }) => user), tx)))
          }
          const admins = found.filter(({ user }) => user.role === 'admin').flatMap(({ user }) => inserted.get(user.email) ?? [])
          await audit.record(tx, null, ...admins.map(userId =>
            ({ type: 'user_created', userId, cause: 'import', role: 'admin' }) as const))
        }
        if (problems.length > 0) throw new RolledBack()
        if (imported > 0) await audit.record(tx, null, { type: 'users_imported', userId: null, cause: 'command' })
      }, timeoutMs)
    } catch (error) {
      if (!(error instanceof RolledBack)) throw error
    }
    return problems
  }

  /** The batches of a file. Each is reported once it has been worked on. */
  async function * read ({ path, size, onProgress }: Source, step: string): AsyncGenerator<Batch> {
    let count = 0
    for await (const batch of readBatches(path, new Date(clock.now()))) {
      yield batch
      count += batch.found.length + batch.bad.length
      // The file may have grown.
      onProgress?.({ step, count, unit: 'lines', fraction: size === 0 ? 1 : Math.min(1, batch.endsAt / size) })
    }
  }
}

const repeated = (field: string, line: number | undefined) => line === undefined ? null : `the ${field} is that of line ${line}`
const existing = (field: string, taken: boolean) => taken ? `the ${field} has an account already` : null

/** Those of `found` that aren't among the `inserted`. Of two with one address only the first can be. */
function refusedOf (found: Candidate[], inserted: Map<string, string>, taken: Taken): Problem[] {
  const left = new Map(inserted)
  const refused = found.filter(({ user: { id, email } }) => {
    const insertedId = left.get(email)
    left.delete(email)
    return insertedId === undefined || (id !== undefined && id !== insertedId)
  })
  return refused.map(({ line, user }) =>
    ({ line, reason: existing('email', taken.emails.has(user.email)) ?? 'the id has an account already' }))
}

class RolledBack extends Error {}
