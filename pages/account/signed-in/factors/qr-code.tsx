import { useEffect, useState } from 'preact/hooks'

/** The QR code of `text`. What draws it is loaded for it alone; should that fail, its place stays empty. */
export function QrCode ({ text, label }: { text: string, label: string }) {
  const [rows, setRows] = useState<boolean[][]>([])
  useEffect(() => { import('./qr-modules.js').then(({ modulesOf }) => setRows(modulesOf(text)), () => {}) }, [text])
  const size = Math.max(rows.length, 1)
  // Dark on light in the dark too: many cameras read nothing else.
  return (
    <svg class='qr' viewBox={`0 0 ${size} ${size}`} role='img' aria-label={label} shape-rendering='crispEdges'>
      <rect width={size} height={size} fill='#fff' />
      <path d={rows.map(pathOf).join('')} fill='#000' />
    </svg>
  )
}

/** The dark modules of a row, those side by side as one rectangle. */
function pathOf (row: boolean[], y: number): string {
  const text = row.map(dark => dark ? '1' : '0').join('')
  return [...text.matchAll(/1+/g)].map(({ index, 0: run }) => `M${index} ${y}h${run.length}v1h-${run.length}z`).join('')
}
