/** A bytea[] as PostgreSQL's array literal; `hexes` are its items in hexadecimal. */
export function byteaArray (hexes: readonly string[]): string {
  return `{${hexes.map(hex => `"\\\\x${hex}"`).join(',')}}`
}

/** A text[], uuid[] or float8[] as PostgreSQL's array literal. */
export function textArray (values: readonly string[]): string {
  return `{${values.map(value => `"${value.replace(/["\\]/g, '\\$&')}"`).join(',')}}`
}
