import type { DestinationStream } from 'pino'

/** Where a terminal's log goes: lines for people. Undefined without pino-pretty, which is optional: then the log is JSON. */
export async function createReadableLog (): Promise<DestinationStream | undefined> {
  const found = await import('pino-pretty').catch(() => null)
  return found?.default({ translateTime: 'SYS:HH:MM:ss', ignore: 'pid,hostname', singleLine: true, sync: true })
}
