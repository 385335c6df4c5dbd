import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Contender, Ready } from './contenders.js'
import type { ContenderName } from './goals.js'
import type { createSeeder, Instance, Seeded } from './latchkey.js'
import type { Machinery } from './machinery.js'

/** As many tokens as the other ways of checking have; and more than a process holds from one turn to the next. */
const [few, many] = [512, 100_000]

const worker = fileURLToPath(new URL('workers/checks.mjs', import.meta.url))

/** A server with a database, a Redis, and users with a token each. */
interface Site extends Instance {
  databaseUrl: string
  redis: { url: string }
  seeder: Awaited<ReturnType<typeof createSeeder>>
  callers: Seeded[]
}

interface Parts {
  machinery: Machinery
  site (count: number): Promise<Site>
  /** A peer's server under load. */
  peer (name: ContenderName, script: string, env: Record<string, string>): Promise<Ready>
}

/** Checks of a token in the process of who wants to know: by `latchkey/verifier`, and by JWT libraries, which cannot revoke. */
export function createVerifyingContenders ({ machinery, site, peer }: Parts): Contender[] {
  let shared: Promise<Site> | null = null
  const own = () => shared ??= site(few)

  async function checks (kind: string, env: Record<string, string>): Promise<Ready> {
    const child = machinery.start(machinery.cores.server, [worker], { KIND: kind, ...env })
    await child.message()
    return {
      async once (seconds) {
        child.process.send(seconds)
        return await child.message<number>()
      },
      pid: child.process.pid as number
    }
  }

  function tokensFile (name: string, callers: readonly Seeded[]): string {
    const file = join(machinery.folder, `${name}.tokens`)
    writeFileSync(file, JSON.stringify(callers.map(({ token }) => token)), { mode: 0o600 })
    return file
  }

  const direct = async (name: string, place: Site) =>
    await checks('direct', { DATABASE_URL: place.databaseUrl, REDIS_URL: place.redis.url, TOKENS: tokensFile(name, place.callers) })

  const byUrl = (kind: string) => async () => {
    const place = await own()
    return await checks(kind, { URL: place.base, SERVICE: await place.seeder.service(), TOKENS: tokensFile(kind, place.callers) })
  }

  const express = (name: ContenderName, check: string) => async () => {
    const { databaseUrl, redis, callers } = await own()
    const tokens = JSON.stringify(callers.slice(0, 256).map(({ token }) => token))
    return await peer(name, 'express', { CHECK: check, DATABASE_URL: databaseUrl, REDIS_URL: redis.url, TOKENS: tokens })
  }

  const one = (name: ContenderName, label: string, kind: Contender['kind'], start: Contender['start']): Contender =>
    ({ name, label, kind, unit: 'checks/s', start })

  return [
    one('verify', 'latchkey/verifier, cached', 'own', async () => await direct('verify', await own())),
    one('verify-many', 'latchkey/verifier, cached, 100,000 tokens in turn', 'own', async () => await direct('verify-many', await site(many))),
    one('jose-rs256', 'jose, RS256 (cannot revoke)', 'peer', () => checks('jose-RS256', {})),
    one('jose-es256', 'jose, ES256 (cannot revoke)', 'peer', () => checks('jose-ES256', {})),
    one('fast-jwt', 'fast-jwt, HS256, without its cache (cannot revoke)', 'peer', () => checks('fast-jwt', {})),
    one('verify-by-url', 'latchkey/verifier by URL, 64 at once', 'own', byUrl('remote')),
    one('introspection', 'openid-client, an introspection a token, 64 at once', 'peer', byUrl('introspection')),
    { ...one('express', 'Express 5 without a check', 'denominator', express('express', 'none')), unit: 'requests/s' },
    { ...one('express-verify', 'Express 5 with latchkey/verifier', 'own', express('express-verify', 'latchkey')), unit: 'requests/s' },
    { ...one('express-jose', 'Express 5 with jose, RS256 (cannot revoke)', 'peer', express('express-jose', 'jose')), unit: 'requests/s' }
  ]
}
