import { execFile } from 'node:child_process'
import { codeOf, readIfThere } from './optional-file.js'

/** Whether the process that started at `startedAt`, as findStart told then, still runs under `pid`. */
export async function isRunning (pid: number, startedAt: string | null): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (codeOf(error) !== 'EPERM') return false
  }
  const start = await findStart(pid)
  return start === null || startedAt === null || start === startedAt
}

/** When the process started, in whatever unit this system counts; 'dead', which nobody says of himself, for a zombie; null where nothing tells. */
export async function findStart (pid: number): Promise<string | null> {
  const stat = await readIfThere(`/proc/${pid}/stat`)
  if (stat === null) return await askPs(pid)
  // The name in parentheses may hold spaces and parentheses of its own: the fields are counted from the last one, the state first.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? 'dead' : fields[19] ?? null
}

async function askPs (pid: number): Promise<string | null> {
  // The answer must not depend on who asks: its words follow the locale, its hours the time zone.
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }
  return await new Promise(resolve => {
    execFile('ps', ['-o', 'lstart=', '-p', String(pid)], { env, timeout: 5_000 }, (error, stdout) => {
      resolve(error ? null : stdout.trim() || null)
    })
  })
}

/** Another one after each boot of the machine; null where nothing tells. */
export async function findBootId (): Promise<string | null> {
  return (await readIfThere('/proc/sys/kernel/random/boot_id'))?.trim() ?? null
}
