import type { ComponentChildren } from 'preact'

interface TableProps<Row> {
  /** The accessible name. */
  label: string
  columns: Array<{ title: string, cell (row: Row): ComponentChildren }>
  rows: Row[]
  keyOf (row: Row): string
}

/** A table that scrolls by itself where it is wider than the page. Its first column names the row. */
export function Table<Row> ({ label, columns, rows, keyOf }: TableProps<Row>) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: only what has the focus can be scrolled with the keyboard
    <section class='scroll' aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>{columns.map(({ title }) => <th key={title} scope='col'>{title}</th>)}</tr>
        </thead>
        <tbody>
          {rows.map(row => (
            <tr key={keyOf(row)}>
              {columns.map(({ title, cell }, i) => i === 0 ? <th key={title} scope='row'>{cell(row)}</th> : <td key={title}>{cell(row)}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}
