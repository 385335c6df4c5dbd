import pino, { type DestinationStream, type Logger } from 'pino'

/** JSON lines on stdout. Requests without their query: a token that somebody put there by mistake stays out of the log. */
export function createLogger (level: string, destination?: DestinationStream): Logger {
  const options = {
    level,
    serializers: {
      req: (request: { method: string, url: string, ip?: string }) => ({ method: request.method, url: request.url.split('?', 1)[0]?.slice(0, 256), remoteAddress: request.ip }),
      res: (reply: { statusCode: number }) => ({ statusCode: reply.statusCode }),
      err: (error: Error & { code?: string }) => ({ type: error.name, code: error.code })
    }
  }
  return destination === undefined ? pino(options) : pino(options, destination)
}
