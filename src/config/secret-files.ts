import { closeSync, openSync, readSync } from 'node:fs'

/** Variables that may contain a password. Each may be kept in a file instead, whose path is then in the variable NAME_FILE. */
export const secretVariables = ['DATABASE_URL', 'REDIS_URL', 'REDIS_SENTINELS', 'UPSTASH_REDIS_REST_TOKEN', 'SMTP_URL']
const maxBytes = 64 * 1024

type Variables = Record<string, string | undefined>

/** The variables with the files' contents filled in, the names of those that came from a file, and what is wrong with the other files. */
export interface SecretFiles { given: Variables, fromFile: string[], problems: string[] }

/** Reads the file of each NAME_FILE: one line of UTF-8, with or without a newline at its end. Problems tell neither paths nor contents. */
export function readSecretFiles (variables: Variables): SecretFiles {
  const found: SecretFiles = { given: { ...variables }, fromFile: [], problems: [] }
  for (const name of secretVariables) {
    const path = variables[`${name}_FILE`]
    if (path === undefined) continue
    const problem = variables[name] === undefined ? read(name, path) : `${name} and ${name}_FILE must not both be set`
    if (problem !== null) found.problems.push(problem)
  }
  return found

  function read (name: string, path: string): string | null {
    try {
      const bytes = readAtMost(path, maxBytes + 1)
      if (bytes.length > maxBytes) return `${name}_FILE must be a file of at most ${maxBytes} bytes`
      const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes).replace(/\r?\n$/, '')
      if (text === '') return `${name}_FILE must be a file that is not empty`
      if (/\p{Cc}/u.test(text)) return `${name}_FILE must be a file of one line`
      found.given[name] = text
      found.fromFile.push(name)
      return null
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') return `${name}_FILE must be a file of UTF-8`
      return `${name}_FILE must be a file that can be read (${code})`
    }
  }
}

/** The first `limit` bytes of a file, or all of it. Works for pipes, and for devices that never end. */
export function readAtMost (path: string, limit: number): Buffer {
  const file = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(limit)
    let length = 0
    let count = -1
    while (count !== 0 && length < limit) {
      count = readSync(file, bytes, length, limit - length, null)
      length += count
    }
    return bytes.subarray(0, length)
  } finally {
    closeSync(file)
  }
}
