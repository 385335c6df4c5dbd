import type { Report } from './report.js'

const colours = { own: '#1a7f5a', peer: '#8a94a6', denominator: '#c7ccd6' }
const [left, width, height, top] = [330, 900, 26, 64]

/** A report's requests per second as bars, longest on top: a standalone SVG, readable on light and dark backgrounds. */
export function draw ({ at, connections, generator, machine, results }: Report): string {
  const bars = results.filter(({ unit }) => unit === 'requests/s').sort((one, other) => other.summary.median - one.summary.median)
  const longest = bars[0]?.summary.median ?? 1
  const scale = (value: number) => Math.round(value / longest * (width - left - 170))
  const bottom = top + bars.length * height
  const rows = bars.map(({ label, kind, summary, ofBare }, i) => {
    const y = top + i * height
    const [from, middle, to] = [scale(summary.min), scale(summary.median), scale(summary.max)]
    return `<text x="${left - 8}" y="${y + 15}" text-anchor="end"${kind === 'own' ? ' font-weight="bold"' : ''}>${xml(label)}</text>
<rect x="${left}" y="${y + 2}" width="${middle}" height="${height - 8}" fill="${colours[kind]}"/>
<path d="M${left + from} ${y + 11}H${left + to}" stroke="#333" stroke-width="1"/>
<text x="${left +
  to +
  6}" y="${y + 15}">${Math.round(summary.median).toLocaleString('en')}${ofBare === null ? '' : ` · ${ofBare.median.toFixed(2)}`}</text>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${bottom + 40}" font-family="system-ui, sans-serif" font-size="12">
<title>Requests a second: Latchkey, bare Fastify and other ways to check a token</title>
<rect width="100%" height="100%" fill="#fff"/>
<text x="16" y="24" font-size="16" font-weight="bold">Authenticated GET, 200 with the user: requests a second on one core</text>
<text x="16" y="44" fill="#555">${xml(
  `${connections} connections, ${generator}; the line is the spread over the rounds, the second figure the ratio to bare Fastify`
)}</text>
${rows.join('\n')}
<text x="16" y="${bottom + 22}" fill="#555">${xml(`${machine[0] ?? ''} · ${at.slice(0, 10)} · npm run bench`)}</text>
</svg>
`
}

function xml (text: string): string {
  return text.replace(/[&<>"]/g, character => `&#${character.charCodeAt(0)};`)
}
