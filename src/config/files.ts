import { closeSync, openSync, readSync } from 'node:fs'

/** Variables that may hold a password: each may be kept in a file instead, whose path then stands in the variable with _FILE behind its name. */
const secretVariables = ['DATABASE_URL', 'REDIS_URL', 'REDIS_SENTINELS', 'SMTP_URL']
const longestBytes = 64 * 1024

type Variables = Record<string, string | undefined>

/** The variables with what the files say in its place, the names of those that came from a file, and a line for each file that can't be used, without its path and contents. */
export interface FromFiles { given: Variables, fromFile: string[], problems: string[] }

/** Reads the file of each NAME_FILE in `variables`: one line of UTF-8, with or without a newline at its end. */
export function readSecretFiles (variables: Variables): FromFiles {
  const read: FromFiles = { given: { ...variables }, fromFile: [], problems: [] }
  for (const name of secretVariables) {
    const path = variables[`${name}_FILE`]
    if (path === undefined) continue
    const problem = variables[name] === undefined ? take(name, path) : `${name} and ${name}_FILE must not both be set`
    if (problem !== null) read.problems.push(problem)
  }
  return read

  function take (name: string, path: string): string | null {
    try {
      const bytes = readUpTo(path, longestBytes + 1)
      if (bytes.length > longestBytes) return `${name}_FILE must be a file of at most ${longestBytes} bytes`
      const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes).replace(/\r?\n$/, '')
      if (text === '') return `${name}_FILE must be a file that is not empty`
      if (/\p{Cc}/u.test(text)) return `${name}_FILE must be a file of one line`
      read.given[name] = text
      read.fromFile.push(name)
      return null
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      return code === 'ERR_ENCODING_INVALID_ENCODED_DATA' ? `${name}_FILE must be a file of UTF-8` : `${name}_FILE must be a file that can be read (${code})`
    }
  }
}

/** The first `limit` bytes, or all there are: of a device that never ends, too, and of a pipe. */
function readUpTo (path: string, limit: number): Buffer {
  const file = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(limit)
    let length = 0
    for (let more = -1; more !== 0 && length < limit; length += more) more = readSync(file, bytes, length, limit - length, null)
    return bytes.subarray(0, length)
  } finally {
    closeSync(file)
  }
}
