import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem, type } from 'node:os'
import { delimiter, join } from 'node:path'

/** Whether `program` is on the PATH. */
export function has (program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some(folder => existsSync(join(folder, program)))
}

/** The processor of each part of a measurement; null if processes can't be pinned. */
export interface Cores { server: string | null, load: string | null, redis: string | null, all: string | null }

/** The server under test on core 0, the load on core 1, Redis on core 2 or with the load. */
export function chooseCores (): Cores {
  const count = availableParallelism()
  if (!has('taskset') || count < 2) return { server: null, load: null, redis: null, all: null }
  return { server: '0', load: '1', redis: count > 2 ? '2' : '1', all: '0,1' }
}

/** `command` and its arguments, pinned to `core`. */
export function pinned (core: string | null, command: string, args: string[]): [string, string[]] {
  return core === null ? [command, args] : ['taskset', ['-c', core, command, ...args]]
}

/** Pins a running process with all its threads. */
export function pin (core: string | null, pid: number): void {
  if (core !== null) execFileSync('taskset', ['-a', '-c', '-p', core, String(pid)], { stdio: 'ignore' })
}

/** Describes the machine, for the report. */
export function describeMachine (cores: Cores): string[] {
  const model = cpus()[0]?.model.trim() ?? 'unknown processor'
  return [
    `${cpus().length} × ${model}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${type()} ${release().split(
      '-',
      1
    )[0]}, Node ${process.version}`,
    cores.server === null
      ? 'Not pinned: without taskset, or on one core, server and load share processors, and the figures are worth less.'
      : `Server under test on core ${cores.server}, load on core ${cores.load}, Redis on core ${cores.redis}; PostgreSQL where its own server runs.`
  ]
}

/** The processor time a process has used so far, threads included; null if there is no such process, or not on Linux. */
export function processorMs (pid: number | undefined): number | null {
  if (pid === undefined || !existsSync(`/proc/${pid}/stat`)) return null
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  // utime and stime, in ticks of 10 ms on every Linux that Node runs on.
  return (Number(fields[11]) + Number(fields[12])) * 10
}
