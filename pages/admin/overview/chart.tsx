import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import { formatNumber, formatTick, shown } from '../../shared/i18n.js'
import { useStore } from '../../shared/store.js'
import type { Hour } from '../wire.js'

interface ChartProps {
  hours: Hour[]
  /** The accessible name. */
  label: string
  /** Called with the index of the hour that the mouse is at, and with null when it leaves. */
  onPoint (index: number | null): void
}

const height = 240
/** So many sign-ins at least fit in: one of them is no mountain. */
const leastTop = 4

/** Sign-ins and failures by the hour, from left to right in every language. */
export function Chart ({ hours, label, onPoint }: ChartProps) {
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const latest = useRef(hours)
  latest.current = hours
  const { language } = useStore(shown)

  useEffect(() => {
    const { current } = place
    if (current === null) return
    const dark = matchMedia('(prefers-color-scheme: dark)')

    function draw (): void {
      plot.current?.destroy()
      plot.current = new uPlot(optionsOf(current as HTMLElement, hours.length, onPoint), dataOf(latest.current), current as HTMLElement)
    }
    const watcher = new ResizeObserver(() => plot.current?.setSize({ width: current.clientWidth, height }))
    draw()
    watcher.observe(current)
    dark.addEventListener('change', draw)
    return () => {
      watcher.disconnect()
      dark.removeEventListener('change', draw)
      plot.current?.destroy()
      plot.current = null
    }
  }, [language, hours.length])

  useEffect(() => plot.current?.setData(dataOf(hours)), [hours])

  return <div ref={place} class='chart' role='img' aria-label={label} dir='ltr' />
}

const hourSeconds = 3600

/** An hour is a step from where it begins to where the next one does: the last one needs an end. */
function dataOf (hours: Hour[]): uPlot.AlignedData {
  const starts = hours.map(({ startsAt }) => Date.parse(startsAt) / 1000)
  const last = hours.at(-1)
  return [
    [...starts, (starts.at(-1) ?? 0) + hourSeconds],
    [...hours, last].map(hour => hour?.signIns ?? null),
    [...hours, last].map(hour => hour?.failures ?? null)
  ]
}

function optionsOf (place: HTMLElement, hours: number, onPoint: ChartProps['onPoint']): uPlot.Options {
  const style = getComputedStyle(place)
  const color = (name: string) => style.getPropertyValue(name).trim()
  const axis = {
    stroke: color('--muted'),
    font: `12px ${style.fontFamily}`,
    grid: { stroke: color('--line'), width: 1 },
    ticks: { show: false }
  }
  const stepped = uPlot.paths.stepped?.({ align: 1 })
  const series = { ...stepped === undefined ? {} : { paths: stepped }, width: 2, points: { show: false } }
  return {
    width: place.clientWidth,
    height,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    scales: { y: { range: (_plot, _low, high) => [0, Math.max(leastTop, (high ?? 0) * 1.1)] } },
    axes: [
      { ...axis, size: 32, space: 76, values: (_plot, ticks) => ticks.map(tick => formatTick(tick * 1000, hours > 24)) },
      { ...axis, size: 56, incrs: wholeSteps, values: (_plot, ticks) => ticks.map(tick => formatNumber(tick)) }
    ],
    series: [
      {},
      { ...series, stroke: color('--accent-text'), fill: `color-mix(in srgb, ${color('--accent-text')} 15%, transparent)` },
      // Not by the colour alone.
      { ...series, stroke: color('--danger'), dash: [6, 4] }
    ],
    hooks: { setCursor: [plot => onPoint(pointedAt(plot))] }
  }
}

/** The index of the hour that the mouse is at; null where it is elsewhere. */
function pointedAt ({ cursor: { left = -1 }, posToVal, data: [starts] }: uPlot): number | null {
  const index = Math.floor((posToVal(left, 'x') - (starts[0] ?? 0)) / hourSeconds)
  return left < 0 ? null : Math.min(Math.max(index, 0), starts.length - 2)
}

/** Nobody signs in half a time. */
const wholeSteps = Array.from({ length: 10 }, (_, i) => [1, 2, 5].map(step => step * 10 ** i)).flat()
