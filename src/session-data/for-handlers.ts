import { MissingTokenError } from '../shared/errors.js'
import type { Principal } from '../tokens/principal.js'
import type { SessionData, SessionDataAccess } from './access.js'
import type { Kept } from './entry.js'
import type { SessionDataService } from './service.js'

/** Apart from its interface: that one is among the package's own types, which may lead to no driver's. */
export function createSessionDataAccess (sessionData: SessionDataService): SessionDataAccess {
  const only = (version: string | undefined) => version === undefined ? undefined : (current: string) => current === version
  return {
    read: async token => opened(await sessionData.read(required(token))),
    replace: async (token, data, version) => opened(await sessionData.replace(required(token), plain(data), only(version))),
    merge: async (token, patch, version) => opened(await sessionData.merge(required(token), plain(patch), only(version)))
  }
}

/** What a client would have sent: without members that are undefined, dates as texts. */
const plain = (value: object): unknown => JSON.parse(JSON.stringify(value))

const opened = ({ text, version }: Kept): SessionData => ({ data: JSON.parse(text), version })

function required (token: Principal | null): Principal {
  if (token === null) throw new MissingTokenError()
  return token
}
