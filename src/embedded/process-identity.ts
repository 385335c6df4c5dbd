import { execFile } from 'node:child_process'
import { errorCode, readOptionalFile } from './optional-file.js'

/** Whether `pid` is still the process with this start time, as `findStartTime` returned it; without a start time the pid alone decides. */
export async function isRunning (pid: number, startedAt: string | null): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (errorCode(error) !== 'EPERM') return false
  }
  const start = await findStartTime(pid)
  return start === null || startedAt === null || start === startedAt
}

/** The start time of a process in the system's own unit, for comparison alone; 'dead' for a zombie; null if it cannot be determined. */
export async function findStartTime (pid: number): Promise<string | null> {
  const stat = await readOptionalFile(`/proc/${pid}/stat`)
  if (stat === null) return await askPs(pid)
  // The program's name stands in parentheses and may contain some itself, so fields are counted from the last one: the state comes first.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? 'dead' : fields[19] ?? null
}

async function askPs (pid: number): Promise<string | null> {
  // Two processes must get the same text, whatever their locale and time zone.
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }
  return await new Promise(resolve => {
    execFile('ps', ['-o', 'lstart=', '-p', String(pid)], { env, timeout: 5_000 }, (error, stdout) => {
      resolve(error ? null : stdout.trim() || null)
    })
  })
}

/** An id that changes with every boot of the machine; null if the system has none. */
export async function findBootId (): Promise<string | null> {
  return (await readOptionalFile('/proc/sys/kernel/random/boot_id'))?.trim() ?? null
}
