import type { FastifyInstance, onResponseHookHandler } from 'fastify'
import { Durations } from './durations.js'

/** What one route has answered: how often with which status, and how long that took, from the request's headers to the end of the reply. */
export interface RouteTraffic {
  method: string
  /** As declared (`/v1/sessions/:id`), never as called; `unmatched` for requests without a route. */
  route: string
  /** Replies by status, from 100 on. */
  statuses: Float64Array
  durations: Durations
}

const lowestStatus = 100
const statuses = 500

/**
 * Counts the replies of the routes of `app` that are declared after this call. Each route gets a hook with counters of its own, so that a
 * request looks nothing up. A request whose client has gone before the reply is not counted.
 */
export function countTraffic (app: FastifyInstance): RouteTraffic[] {
  const unmatched = createTraffic('any', 'unmatched')
  const all = [unmatched]

  app.addHook('onRoute', route => {
    const traffic = createTraffic([route.method].flat().join(' '), route.url)
    all.push(traffic)
    route.onResponse = [route.onResponse ?? [], counting(traffic)].flat()
  })
  const countUnmatched = counting(unmatched)
  app.addHook('onResponse', function (request, reply, done) {
    if (request.is404) countUnmatched.call(this, request, reply, done)
    else done()
  })
  return all
}

/** The statuses a route has answered with, and how often each. */
export function statusesOf ({ statuses }: RouteTraffic): Array<[status: number, count: number]> {
  return [...statuses].flatMap((count, i): Array<[number, number]> => count === 0 ? [] : [[i + lowestStatus, count]])
}

function createTraffic (method: string, route: string): RouteTraffic {
  return { method, route, statuses: new Float64Array(statuses), durations: new Durations() }
}

function counting ({ statuses, durations }: RouteTraffic): onResponseHookHandler {
  return (_request, reply, done) => {
    const status = reply.statusCode - lowestStatus
    statuses[status] = (statuses[status] as number) + 1
    durations.record(reply.elapsedTime)
    done()
  }
}
