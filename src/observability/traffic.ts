import type { FastifyInstance, onResponseHookHandler } from 'fastify'
import { Durations } from './durations.js'

/** What a route has answered: how often with which status, and how long that took, from the head of the request to the end of the reply. */
export interface RouteTraffic {
  method: string
  /** As declared (`/v1/sessions/:id`), never as called; `unmatched` for requests that no route is for. */
  route: string
  /** Replies by status, from 100 on. */
  statuses: Float64Array
  durations: Durations
}

const lowestStatus = 100
const statuses = 500

/**
 * Counts what the routes of `app` answer that are declared after this call. Everything is made beforehand, and each route has a hook with its own
 * numbers, so a request only adds to them. One whose client has gone before the reply is not counted.
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

/** The statuses that `traffic` has seen, with how often. */
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
