import type { FastifyError, FastifyRequest } from 'fastify'
import { addressOf } from '../shared/address.js'

/** So many lines a second; a flood must not fill the disk. */
const linesPerSecond = 50

let second = 0
let written = 0
let suppressed = 0

/**
 * Logs a refused authorisation, a limit that was met, and any refusal of an admin route, with its code. Past 50 lines a second it only
 * counts them.
 */
export function logRefusal (request: FastifyRequest, { statusCode, code }: FastifyError): void {
  const { config: { guard }, method, url: route } = request.routeOptions
  if (statusCode !== 403 && statusCode !== 429 && !(statusCode === 401 && guard === 'admin')) return
  const now = Math.floor(performance.now() / 1000)
  if (now !== second) {
    second = now
    written = 0
  }
  if (written >= linesPerSecond) {
    suppressed++
    return
  }
  written++
  const more = suppressed === 0 ? {} : { suppressed }
  suppressed = 0
  request.log.info({ statusCode, code, method, route, address: addressOf(request), userId: request.token?.user.id, ...more }, 'refused')
}
