import pino, { type DestinationStream, type Logger } from 'pino'

/** What everything below HTTP needs of a log. */
export interface Log {
  info (fields: object, text: string): void
  warn (fields: object, text: string): void
  error (fields: object, text: string): void
}

const tokenLike = /lk[a-z]{0,2}_[0-9A-Za-z]{8,}/g

/** JSON lines on stdout. Requests without their query, and without what looks like a token in their path: one that somebody put there by mistake stays out of the log. */
export function createLogger (level: string, destination?: DestinationStream): Logger {
  const options = {
    level,
    serializers: {
      req: (request: { method: string, url: string, ip?: string }) => ({ method: request.method, url: request.url.split('?', 1)[0]?.replace(tokenLike, 'lk_…').slice(0, 256), remoteAddress: request.ip }),
      res: (reply: { statusCode: number }) => ({ statusCode: reply.statusCode }),
      err: (error: Error & { code?: string }) => ({ type: error.name, code: error.code })
    }
  }
  return destination === undefined ? pino(options) : pino(options, destination)
}
