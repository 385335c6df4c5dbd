import { readFile } from 'node:fs/promises'

/** The text of a file; null where there is none. */
export async function readIfThere (path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const code = codeOf(error)
    // ESRCH: the process ended between the opening of its file in /proc and the reading.
    if (code === 'ENOENT' || code === 'ESRCH') return null
    throw error
  }
}

/** What the system says went wrong, like ENOENT. */
export function codeOf (error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined
}
