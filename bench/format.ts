/** Columns as wide as their widest cell. */
export function table (head: string[], rows: string[][]): string {
  const widths = head.map((_title, i) => Math.max(...[head, ...rows].map(row => (row[i] ?? '').length)))
  return [head, widths.map(width => '-'.repeat(width)), ...rows].map(row =>
    row.map((cell, i) => cell.padEnd(widths[i] as number)).join('  ').trimEnd()).join('\n')
}

/** Three digits, or whole. */
export function figure (number: number): string {
  return number >= 100 ? Math.round(number).toLocaleString('en') : number.toPrecision(3)
}
