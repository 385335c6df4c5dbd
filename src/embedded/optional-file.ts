import { readFile } from 'node:fs/promises'

/** The text of a file; null if it does not exist. */
export async function readOptionalFile (path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const code = errorCode(error)
    // ESRCH: a process that ends between the opening of its file in /proc and the reading.
    if (code === 'ENOENT' || code === 'ESRCH') return null
    throw error
  }
}

/** The code of a system error, like ENOENT; undefined for any other error. */
export function errorCode (error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined
}
