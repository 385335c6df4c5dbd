import type { AuthError, Result } from 'latchkey-client'
import { useState } from 'preact/hooks'
import { type Action, useAction } from './action.js'
import { useLoad } from './load.js'

/** A page of a list, and where the next one begins; null at the end. */
export interface Part<T> { items: T[], nextCursor: string | null }

export interface List<T> {
  /** Null until there are some. */
  items: T[] | null
  problem: AuthError | null
  /** Brings the next page; null at the end. */
  more: Action | null
  reload (): Promise<void>
}

/** A list that comes a page at a time. With `everyMs` what is new appears on top, as long as there is but one page. */
export function useList<T> (load: (cursor: string | null) => Promise<Result<Part<T>>>, everyMs: number | null = null): List<T> {
  const [later, setLater] = useState<Array<Part<T>>>([])
  const { data: first, problem, reload } = useLoad(() => load(null), later.length === 0 ? everyMs : null)
  const parts = first === null ? [] : [first, ...later]
  const cursor = parts.at(-1)?.nextCursor ?? null
  const more = useAction(async () => {
    const { data, error } = await load(cursor)
    if (error === null) setLater([...later, data])
    return error
  })
  return {
    items: first === null ? null : parts.flatMap(({ items }) => items),
    problem,
    more: cursor === null ? null : more,
    async reload () {
      setLater([])
      await reload()
    }
  }
}

/** The entries of `answer`, which stand under `name` there. */
export function partOf<T, Name extends string> (name: Name, answer: Result<Record<Name, T[]> & { nextCursor: string | null }>): Result<Part<T>> {
  const { data, error } = answer
  return error === null ? { data: { items: data[name] ?? [], nextCursor: data.nextCursor }, error } : { data, error }
}

/** The query of a page that begins at `cursor`, with those `filters` that are set. */
export function queryOf (filters: Record<string, string | number>, cursor: string | null): string {
  const set = Object.entries({ ...filters, cursor: cursor ?? '' }).filter(([, value]) => value !== '')
  return new URLSearchParams(set.map(([name, value]) => [name, String(value)])).toString()
}
