import type { EventCause } from '../audit/event.js'
import type { EndReason } from '../sessions/service.js'
import type { Device } from '../shared/device.js'
import type { Principal } from '../tokens/principal.js'

/** Who acts: an administrator, with the device of the request, or (both null) the operator, who runs a command. */
export type AdminActor = { caller: Principal, device: Device } | { caller: null, device: null }

/** The operator. Access to the database is all the permission that commands need. */
export const operator: AdminActor = { caller: null, device: null }

/** Why sessions end when `actor` acts; for the operator the cause is always `command`. */
export function reasonOf ({ caller, device }: AdminActor, cause: EventCause): EndReason & { actorId: string | null } {
  return { device, actorId: caller?.user.id ?? null, cause: caller === null ? 'command' : cause }
}
