import type { Sql } from 'postgres'
import { withTimeout } from '../shared/timeout.js'
import { type Abilities, connect } from './connect.js'
import type { DedicatedConnection, Parameter } from './database.js'
import { translateError } from './errors.js'
import { requireSettings } from './server-check.js'

/** One connection beside the pool, opened when it is first used and checked each time that it was opened. */
export function createDedicated (url: string, findAbilities: () => Promise<Abilities>): DedicatedConnection {
  let client: Sql | null = null
  let checked = false

  async function open (): Promise<Sql> {
    const found = await findAbilities()
    client ??= connect(url, { max: 1, ...found, onclose () { checked = false } })
    if (!checked) await requireSettings(client, found.schema)
    checked = true
    return client
  }

  function leave (): void {
    const left = client
    client = null
    checked = false
    void left?.end({ timeout: 0 }).catch(() => {})
  }

  return {
    async query<Row> (text: string, parameters: Parameter[], timeoutMs: number) {
      const answer = async () => await (await open()).unsafe(text, parameters, { prepare: true }) as unknown as Row[]
      try {
        const rows = await withTimeout(answer(), timeoutMs, leave)
        // The next one may lead to the primary.
        if (saysStandby(rows)) leave()
        return rows
      } catch (error) {
        throw translateError(error)
      }
    },
    close: async () => await client?.end({ timeout: 1 })
  }
}

/** The column is for the caller, who believes no answer of a standby. */
export const saysStandby = (rows: unknown[]) => (rows[0] as { standby?: unknown } | undefined)?.standby === true
