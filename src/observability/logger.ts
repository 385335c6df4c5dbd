import pino, { type DestinationStream, type Logger } from 'pino'
import { addressOf, type Origin } from '../shared/address.js'

/** What everything below HTTP needs of a log. */
export interface Log {
  info (fields: object, text: string): void
  warn (fields: object, text: string): void
  error (fields: object, text: string): void
}

const tokenLike = /lk[a-z]{0,2}_[0-9A-Za-z]{8,}/g

/** JSON lines, on stdout unless there is a `destination`. */
export function createLogger (level: string, destination?: DestinationStream): Logger {
  const options = {
    level,
    serializers: {
      req: describeRequest,
      res: (reply: { statusCode: number }) => ({ statusCode: reply.statusCode }),
      err: (error: Error & { code?: string }) => ({ type: error.name, code: error.code })
    }
  }
  return destination === undefined ? pino(options) : pino(options, destination)
}

/**
 * A request as log lines show it. An application's own serialiser would write the query of a URL, and so a token that somebody put
 * there.
 */
export function describeRequest (request: { method: string, url: string } & Origin) {
  return { method: request.method, url: pathOf(request.url), remoteAddress: addressOf(request) }
}

/** A URL without its query, and without what looks like a token in its path: somebody may have put one there by mistake. */
function pathOf (url: string): string | undefined {
  return url.split('?', 1)[0]?.replace(tokenLike, 'lk_…').slice(0, 256)
}
