import type { Clock } from '../shared/clock.js'
import { batchPerTurn } from '../token-cache/batch.js'
import type { TokenCache } from '../token-cache/cache.js'
import type { LookUpCounters } from './counters.js'
import type { LastUse } from './last-use.js'
import type { TokenLookUp } from './lookup-store.js'
import type { AnyPrincipal, TokenState } from './principal.js'
import type { PlainToken, TokenHash, TokenMint } from './token.js'

/** Reads the tokens that clients present. */
export interface TokenReader {
  /** Whose token this is; null if it is malformed, unknown, expired or revoked. Throws UnavailableError. */
  authenticate (candidate: string): Promise<AnyPrincipal | null>
  /** Parses it; null if shape or check is wrong. No I/O. */
  parse (candidate: string): PlainToken | null
}

export interface TokenReaderNeeds {
  lastUse: Pick<LastUse, 'note'>
  mint: Pick<TokenMint, 'parse'>
  cache: Pick<TokenCache, 'read'>
  store: TokenLookUp
  clock: Clock
  counters: LookUpCounters
  /** How long a session may be unused; null: for ever. */
  idleSeconds: number | null
}

export function createTokenReader ({ lastUse, mint, cache, store, clock, counters, idleSeconds }: TokenReaderNeeds): TokenReader {
  const lookUp = batchPerTurn<TokenState>(async hexes => {
    counters.databaseReads++
    const found = await store.find([...new Set(hexes)], clock.now())
    return hexes.map(hex => found.get(hex) ?? { state: 'unknown' })
  })

  async function askDatabase (hash: TokenHash, fill: ((found: TokenState) => void) | null): Promise<AnyPrincipal | null> {
    const found = await lookUp(hash.hex())
    fill?.(found)
    return found.state === 'live' ? found.value : null
  }

  /** An instance without SESSION_IDLE_TTL fills entries that don't say when their session is over for lack of use. */
  function saysWhenIdle ({ session, idleAtMs }: AnyPrincipal): boolean {
    return idleSeconds === null || session === null || idleAtMs !== undefined
  }

  return {
    async authenticate (candidate) {
      const plain = mint.parse(candidate)
      if (plain === null || plain.kind === 'refresh') return null
      const hash = plain.hash()
      const answer = await cache.read(hash)
      if (answer.verdict === 'refuse') return null
      const principal = answer.verdict === 'accept' && saysWhenIdle(answer.value)
        ? answer.value
        : await askDatabase(hash, answer.verdict === 'database' ? answer.fill : null)
      if (principal !== null) lastUse.note(principal)
      return principal
    },

    parse: candidate => mint.parse(candidate)
  }
}
