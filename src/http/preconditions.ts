import type { IncomingHttpHeaders } from 'node:http'

/** Conditional requests (RFC 9110 13). All our tags are strong: `"version"`. */

/** The ETag of what has this version. */
export const tagOf = (version: string) => `"${version}"`

/** Whether the conditions of a request that changes something allow it, given what is there now (13.2.2). */
export function allows (headers: IncomingHttpHeaders): (version: string) => boolean {
  const { 'if-match': wanted, 'if-none-match': unwanted } = headers
  // A weak tag never matches here (13.1.1): what it stands for may have been altered on the way.
  return version =>
    (wanted === undefined || matches(wanted, version, false)) && (unwanted === undefined || !matches(unwanted, version, true))
}

/** Whether the client of a read has this version already (13.1.2). */
export function isKnown ({ 'if-none-match': known }: IncomingHttpHeaders, version: string): boolean {
  return known !== undefined && matches(known, version, true)
}

/** Whether `*`, or one of the tags of a list, stands for `version`. What is no tag stands for nothing. */
function matches (field: string, version: string, weakly: boolean): boolean {
  if (field.trim() === '*') return true
  return [...field.matchAll(/(W\/)?"([^"]*)"/g)].some(([, weak, tag]) => tag === version && (weakly || weak === undefined))
}
