import type { FastifyRequest } from 'fastify'

/** Where a request comes from, as far as one can know; `requestId` is its `reqId` in the log. */
export interface Device { address: string, userAgent: string | null, requestId?: string }

/** Where `request` comes from, cut to what is worth keeping. */
export function deviceOf (request: FastifyRequest): Device {
  return { address: request.ip, userAgent: request.headers['user-agent']?.slice(0, 512) ?? null, requestId: request.id }
}
