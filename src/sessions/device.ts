import type { FastifyRequest } from 'fastify'
import type { Device } from './service.js'

/** Where `request` comes from, cut to what is worth keeping. */
export function deviceOf (request: FastifyRequest): Device {
  return { address: request.ip, userAgent: request.headers['user-agent']?.slice(0, 512) ?? null }
}
