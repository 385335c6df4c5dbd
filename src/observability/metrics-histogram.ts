import { Histogram, type MetricObjectWithValues, type MetricValue, type Registry } from 'prom-client'
import { type Durations, durationBounds } from './durations.js'

type Labels = Record<string, string>

interface HistogramOptions {
  name: string
  help: string
  registry: Registry
  labelNames?: string[]
  read (): Array<{ labels: Labels, durations: Durations }>
}

/** A histogram over durations that are counted elsewhere: prom-client's own has to observe each one itself. */
export class DurationsHistogram extends Histogram {
  readonly #options: HistogramOptions

  constructor (options: HistogramOptions) {
    const { name, help, registry, labelNames = [] } = options
    super({ name, help, labelNames, buckets: [...durationBounds], registers: [registry] })
    this.#options = options
  }

  override async get (): Promise<MetricObjectWithValues<MetricValue<string>>> {
    const { name, help, read } = this.#options
    const values = read().flatMap(({ labels, durations }) => valuesOf(name, labels, durations))
    return { name, help, type: 'histogram', aggregator: 'sum', values } as unknown as MetricObjectWithValues<MetricValue<string>>
  }

  /** The registry calls this instead of `get`, where it exists. */
  async getForPromString (): Promise<MetricObjectWithValues<MetricValue<string>>> {
    return await this.get()
  }
}

function valuesOf (name: string, labels: Labels, { counts, totalMs }: Durations) {
  let count = 0
  const buckets = [...durationBounds, '+Inf'].map((le, i) => {
    count += counts[i] as number
    return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: count }
  })
  return [...buckets, { metricName: `${name}_sum`, labels, value: totalMs / 1000 }, { metricName: `${name}_count`, labels, value: count }]
}
