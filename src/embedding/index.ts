export { securitySchemes } from '../http/openapi.js'
export type { Principal, User } from '../tokens/principal.js'
export { authenticate, type Mounted, requireAbility } from './guards.js'
export { type LatchkeyOptions, latchkey } from './plugin.js'
