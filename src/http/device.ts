import type { FastifyRequest } from 'fastify'
import { addressOf } from '../shared/address.js'
import type { Device } from '../shared/device.js'

/** The device that sent `request`, its user agent cut to 512 characters. */
export function deviceOf (request: FastifyRequest): Device {
  const { 'user-agent': userAgent, 'accept-language': acceptLanguage } = request.headers
  return { address: addressOf(request), userAgent: userAgent?.slice(0, 512) ?? null, requestId: request.id, acceptLanguage }
}
