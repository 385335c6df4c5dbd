import { join, resolve } from 'node:path'
import type { Config } from './config.js'
import { isSocketFolder, readPostgresUrl } from './postgres.js'
import type { RedisAddress } from './redis.js'

/** The configured database as its operator knows it, without user and password. */
export function nameDatabase (
  { databaseUrl, databaseSchema, dataDir }: Pick<Config, 'databaseUrl' | 'databaseSchema' | 'dataDir'>
): string {
  const schema = databaseSchema === 'public' ? '' : `, schema ${databaseSchema}`
  if (databaseUrl === undefined) return `embedded in ${resolve(dataDir)}${schema}`
  return `${readPostgresUrl(databaseUrl)?.database ?? '(named like its user)'} at ${nameDatabaseServer(databaseUrl)}${schema}`
}

/** The host and port, or the Unix socket, of a valid URL of PostgreSQL. */
export function nameDatabaseServer (databaseUrl: string): string {
  const { host, port } = readPostgresUrl(databaseUrl) ?? { host: '', port: 0 }
  return isSocketFolder(host) ? `${host}, port ${port}` : hostOf({ host, port })
}

/** Where the cache is. */
export function nameCache ({ redis, databaseUrl }: Pick<Config, 'redis' | 'databaseUrl'>): string {
  switch (redis?.mode) {
    case undefined: return databaseUrl === undefined ? 'in the process' : 'none, because REDIS_URL is not set'
    case 'server': return `Redis at ${hostOf(redis.address)}, database ${redis.db}`
    case 'sentinel': return `Redis ${redis.name}, watched by Sentinels at ${redis.sentinels.map(hostOf).join(', ')}, database ${redis.db}`
    case 'cluster': return `Redis Cluster, found at ${redis.seeds.map(hostOf).join(', ')}`
  }
}

/** Where mails go. */
export function nameMail ({ smtp, mailFrom, dataDir }: Pick<Config, 'smtp' | 'mailFrom' | 'dataDir'>): string {
  if (smtp === null) return `files in ${resolve(join(dataDir, 'mail'))}`
  return `SMTP at ${hostOf(smtp)}, TLS ${smtp.tls}, from ${mailFrom}`
}

function hostOf ({ host, port }: RedisAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}
