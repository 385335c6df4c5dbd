/** The rows of a statement that was run as text: of drizzle's two drivers one gives an array, the other an object around it. */
export function rowsOf<Row> (result: unknown): Row[] {
  return (Array.isArray(result) ? result : (result as { rows: unknown[] }).rows) as Row[]
}
