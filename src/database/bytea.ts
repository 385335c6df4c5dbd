/** The bytea type for postgres.js. Its own reader takes every text for hex, and returns wrong bytes if `bytea_output` is `escape`. */
export const readBytea = {
  to: 17,
  from: [17],
  serialize: (bytes: Uint8Array) => `\\x${Buffer.from(bytes).toString('hex')}`,
  parse: parseBytea
}

/** PostgreSQL's text of a bytea, as `hex` or `escape` gives it. In the second a backslash is doubled, so it never begins with `\x`. */
export function parseBytea (text: string): Buffer {
  if (text.startsWith('\\x')) return Buffer.from(text.slice(2), 'hex')
  const unescapeByte = (_: string, code: string) => code === '\\' ? code : String.fromCharCode(Number.parseInt(code, 8))
  return Buffer.from(text.replace(/\\(\\|[0-3][0-7]{2})/g, unescapeByte), 'latin1')
}
