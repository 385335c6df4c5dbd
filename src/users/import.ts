import { stat } from 'node:fs/promises'
import type { Transactions } from '../database/transaction.js'
import type { Clock } from '../shared/clock.js'
import { type Problem, readBatches } from './import-file.js'
import type { UserStore } from './store.js'

/** The whole import is one transaction of many statements, each of which has its own timeout. */
const timeoutMs = 3_600_000

/** `users` lines were read; with any problem, or in a dry run, none of them was imported. */
export interface ImportReport { users: number, imported: number, dryRun: boolean, problems: Problem[] }

/** Imports accounts from a file of JSON lines: all of them, or none. Rejects when the file can't be read. */
export type UserImport = (options: { path: string, dryRun: boolean }) => Promise<ImportReport>

interface UserImportDependencies { store: Pick<UserStore, 'findTaken' | 'insertMany'>, transactions: Transactions, clock: Clock }

export function createUserImport ({ store, transactions, clock }: UserImportDependencies): UserImport {
  return async ({ path, dryRun }) => {
    if (!(await stat(path)).isFile()) throw new Error(
      `${path} is not a regular file: it is read twice, to check every line before any is imported`
    )
    const { users, problems } = await check(path)
    if (problems.length > 0 || dryRun) return { users, imported: 0, dryRun, problems }
    const late = await insertAll(path)
    return { users, imported: late.length > 0 ? 0 : users, dryRun, problems: late }
  }

  async function check (path: string): Promise<{ users: number, problems: Problem[] }> {
    const problems: Problem[] = []
    const lineOf = new Map<string, number>()
    let users = 0
    for await (const { found, bad } of readBatches(path, new Date(clock.now()))) {
      users += found.length + bad.length
      problems.push(...bad)
      const taken = await store.findTaken(found.map(({ user }) => user.email))
      for (const { line, user: { email } } of found) {
        const first = lineOf.get(email)
        if (first !== undefined) problems.push({ line, reason: `the email is that of line ${first}` })
        else if (taken.has(email)) problems.push({ line, reason: 'the email has an account already' })
        if (first === undefined) lineOf.set(email, line)
      }
    }
    return { users, problems: problems.sort((one, other) => one.line - other.line) }
  }

  /** Checks again while importing: somebody may have registered meanwhile, or the file may have changed. Then nothing is imported. */
  async function insertAll (path: string): Promise<Problem[]> {
    const problems: Problem[] = []
    try {
      await transactions.transaction(async tx => {
        for await (const { found, bad } of readBatches(path, new Date(clock.now()))) {
          problems.push(...bad)
          const taken = await store.insertMany(tx, found.map(({ user }) => user))
          problems.push(
            ...found.filter(({ user }) => taken.has(user.email)).map(({ line }) => ({ line, reason: 'the email has an account already' }))
          )
        }
        if (problems.length > 0) throw new RolledBack()
      }, timeoutMs)
    } catch (error) {
      if (!(error instanceof RolledBack)) throw error
    }
    return problems
  }
}

class RolledBack extends Error {}
