import type { Contender, Unit } from './contenders.js'
import { figure, table } from './format.js'
import { type Goal, goals } from './goals.js'
import { median, ratios, type Summary, summarise } from './statistics.js'

/** One round of one contender; the processor time is per request, null if unknown. */
export interface Measured { value: number, processorMicroseconds: number | null }

export interface Result {
  name: string
  label: string
  kind: Contender['kind']
  unit: Unit
  values: number[]
  summary: Summary
  ofBare: Summary | null
  ofDeferred: Summary | null
  processorMicroseconds: number | null
}

export interface Verdict { name: string, work: string, ratio: Summary, against: string, bound: Goal['bound'], times: number, met: boolean }

export interface Report {
  at: string
  machine: string[]
  generator: string
  rounds: number
  seconds: number
  connections: number
  results: Result[]
  goals: Verdict[]
}

/** The measured values as figures: a ratio is the median of the rounds' ratios. */
export function toResults (contenders: readonly Contender[], values: ReadonlyMap<string, Measured[]>): Result[] {
  const valuesOf = (name: string) => (values.get(name) ?? []).map(({ value }) => value)
  const of = (name: string, unit: Unit, own: number[]): Summary | null => {
    const against = valuesOf(name)
    return unit === 'requests/s' && against.length > 0 ? summarise(ratios(own, against)) : null
  }
  return contenders.map(({ name, label, kind, unit }) => {
    const own = valuesOf(name)
    const processor = (values.get(name) ?? []).flatMap(({ processorMicroseconds }) => processorMicroseconds ?? [])
    return {
      name,
      label,
      kind,
      unit,
      values: own,
      summary: summarise(own),
      ofBare: of('bare', unit, own),
      ofDeferred: of('deferred', unit, own),
      processorMicroseconds: processor.length > 0 ? median(processor) : null
    }
  })
}

/** The goals whose contenders were measured, met or not. */
export function judge (results: readonly Result[]): Verdict[] {
  const byName = new Map(results.map(result => [result.name, result]))
  return goals.flatMap(({ name, work, of, against, bound, times }) => {
    const measured = byName.get(of)
    const denominators = against.flatMap(other => byName.get(other) ?? [])
    const largest = denominators.sort((one, other) => median(other.values) - median(one.values))[0]
    if (measured === undefined || largest === undefined || denominators.length < against.length) return []
    const ratio = summarise(ratios(measured.values, largest.values))
    return [{
      name,
      work,
      ratio,
      against: largest.label,
      bound,
      times,
      met: bound === 'at least' ? ratio.median >= times : ratio.median <= times
    }]
  })
}

/** The report as text: two tables. */
export function print ({ machine, generator, rounds, seconds, connections, results, goals }: Report): string {
  const figures = results.map(({ label, unit, summary, ofBare, ofDeferred, processorMicroseconds }) => [
    label, `${figure(summary.median)} ${unit}`, `${figure(summary.min)} – ${figure(summary.max)}`, spread(ofBare), spread(ofDeferred), processorMicroseconds === null
      ? ''
      : processorMicroseconds.toFixed(1)
  ])
  const verdicts = goals.map(({ work, ratio, bound, times, met }) => [work, spread(ratio), `${bound} ${times}`, met ? 'met' : 'NOT MET'])
  return [
    ...machine,
    `${generator}, ${connections} connections; ${rounds} rounds of ${seconds} s, interleaved in a new order each; ratios are medians over the rounds.`,
    '',
    table(['', 'median', 'spread', 'of bare', 'of deferred', 'µs of processor a request'], figures),
    '',
    table(['goal', 'measured', 'wanted', ''], verdicts)
  ].join('\n')
}

function spread (summary: Summary | null): string {
  return summary === null ? '' : `${summary.median.toFixed(2)} (${summary.min.toFixed(2)} – ${summary.max.toFixed(2)})`
}
