import { parseArgs } from 'node:util'

/** The options of `npm run bench`. */
export interface Options {
  rounds: number
  seconds: number
  connections: number
  /** Names of goals or contenders; empty: everything but `memory`, which takes ten minutes. */
  only: string[]
  /** Writes figures and picture to docs/. */
  publish: boolean
  generator: 'wrk' | 'autocannon' | null
  minutes: number
  tokens: number
  memoryConnections: number
}

export const usage = `npm run bench -- [options]
  --rounds N          measured rounds, after one to warm up (5)
  --seconds N         length of one measurement (5)
  --connections N     connections of the load (64)
  --only NAME         a goal or a contender; may be repeated
  --generator NAME    wrk or autocannon (wrk where it is installed)
  --publish           write docs/bench.json and docs/bench.svg
  --only memory       takes --minutes (10), --tokens (1000000), --memory-connections (10000)`

/** Throws a RangeError or TypeError that names the bad argument. */
export function readOptions (args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '5' },
      connections: { type: 'string', default: '64' },
      only: { type: 'string', multiple: true, default: [] },
      publish: { type: 'boolean', default: false },
      generator: { type: 'string' },
      minutes: { type: 'string', default: '10' },
      tokens: { type: 'string', default: '1000000' },
      'memory-connections': { type: 'string', default: '10000' }
    }
  })
  const { generator = null } = values
  if (generator !== null && generator !== 'wrk' && generator !== 'autocannon') throw new RangeError('--generator is wrk or autocannon')
  const only = values.only.flatMap(names => names.split(','))
  if (values.publish && only.length > 0) throw new RangeError('--publish needs a whole run')
  return {
    rounds: positive('rounds', values.rounds),
    seconds: positive('seconds', values.seconds),
    connections: positive('connections', values.connections),
    only,
    publish: values.publish,
    generator,
    minutes: positive('minutes', values.minutes),
    tokens: positive('tokens', values.tokens),
    memoryConnections: positive('memory-connections', values['memory-connections'])
  }
}

/** A number above zero, or a RangeError with the argument's name. */
export function positive (name: string, text: string): number {
  const number = Number(text)
  if (!Number.isFinite(number) || number <= 0) throw new RangeError(`--${name} takes a number above 0`)
  return number
}
