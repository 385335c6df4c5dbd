import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { isHidden } from '../shared/redis-info.js'

const oldestMajor = 7

/** Whether a server can be used. A `replica` may become the master later; `problem` and `notice` are for the operator. */
export type Fitness = { state: 'fit', notice?: string } | { state: 'replica' } | { state: 'unfit', problem: string }

interface Examination { where: string, keyPrefix: string, cluster: boolean, db: number }

/** Checks the server behind a connection: its version, kind and role, and each command that is needed, by sending it. */
export async function examine (client: Redis, { where, keyPrefix, cluster, db }: Examination): Promise<Fitness> {
  const key = `${keyPrefix}probe:${randomUUID()}`
  const pipeline = client.pipeline().call('INFO', 'server', 'replication')
  const commands: Array<[name: string, ...args: Array<string | number>]> = [
    ['SET', key, 'Lprobe', 'PX', 1_000, 'NX', 'GET'], ['GET', key], ['GETEX', key], ['MGET', key],
    ['EVAL', 'return 1', 0], ['EVALSHA', '0'.repeat(40), 0],
    ['INCRBY', key, 1], ['PTTL', key], ['EXPIRE', key, 1], ['DEL', key], ['DBSIZE'],
    ...db === 0 ? [] : [['SELECT', db] as [string, number]], ...cluster ? [['CLUSTER', 'SLOTS'] as [string, string]] : []
  ]
  for (const [name, ...args] of commands) pipeline.call(name, ...args)
  // Not every user may ask for it: an ACL that forbids it is no problem.
  const [info, ...replies] = await pipeline.call('CONFIG', 'GET', 'replica-read-only').exec() ?? []
  const [, writable] = replies.pop() ?? []
  if (info === undefined) throw new Error('the pipeline was not answered')
  const refusals = [info, ...replies].map(([error]) => error?.message ?? '')
  const unfit = (problem: string): Fitness => ({ state: 'unfit', problem: `Redis at ${where} ${problem}` })

  const forbidden = [['INFO'], ...commands].filter((_, i) => /^NOPERM.*\brun\b/.test(refusals[i] ?? ''))
  const missing = forbidden.map(([name, sub]) => `+${name}${name === 'CLUSTER' ? `|${sub}` : ''}`.toLowerCase())
  if (missing.length > 0) return unfit(`does not allow the user of REDIS_URL all commands that are needed: grant it ${missing.join(' ')}`)
  if (refusals.some(refusal => refusal.startsWith('NOPERM'))) {
    return unfit(`does not allow the user of REDIS_URL the keys that begin with ${keyPrefix}: grant it ~${keyPrefix}*`)
  }
  const [infoError, text] = info
  if (infoError !== null) throw infoError
  // The key holds no number for INCRBY. DBSIZE is for statistics alone, and errors without ERR may pass: a full server, one that loads.
  const lacks = (refusal = '') => /^ERR (?!value is not an integer)/.test(refusal)
  const unknown = commands.filter(([name], i) => name !== 'SELECT' && name !== 'DBSIZE' && lacks(replies[i]?.[0]?.message))
    .map(([name]) => name === 'SET' ? 'SET with NX and GET' : name)
  const field = (name: string) => new RegExp(`^${name}:(\\S+)`, 'm').exec(String(text))?.[1]
  const version = field('redis_version')
  // Valkey reports the version of Redis that it is compatible with.
  if (version !== undefined && Number.parseInt(version, 10) < oldestMajor) {
    return unfit(`is version ${version}: Redis ${oldestMajor} or later, or Valkey, is needed`)
  }
  // Valkey calls it server_mode.
  const isCluster = (field('redis_mode') ?? field('server_mode')) === 'cluster'
  if (isCluster && !cluster) return unfit('belongs to a cluster: name several of its servers in REDIS_URL, separated by commas')
  if (!isCluster && cluster) return unfit('belongs to no cluster, and REDIS_URL names several servers: name one, or set REDIS_SENTINELS')
  if (db !== 0 && refusals.at(-1) !== '') return unfit(`has no database ${db}: correct REDIS_URL`)
  if (unknown.length > 0) return unfit(`cannot do ${unknown.join(', ')}: Redis ${oldestMajor} or later, or Valkey, is needed`)
  if (!cluster && String(writable) === 'replica-read-only,no') {
    return unfit('has replica-read-only no, so that it would go on accepting revoked tokens once it is a replica: set it to yes')
  }
  const hidden = ['run_id', 'master_replid', 'role'].filter(name => isHidden(field(name)))
  if (hidden.length > 0) {
    return {
      state: 'fit',
      notice: `Redis at ${where} hides ${hidden.join(', ')} in INFO, so its restart could not be noticed: there is no cache`
    }
  }
  // In a cluster, replicas too say which servers are masters.
  return cluster || field('role') === 'master' ? { state: 'fit' } : { state: 'replica' }
}

/** What an operator has to correct after a connection error; null if the server is merely unreachable. */
export function explainRefusal (error: unknown, where: string, variable = 'REDIS_URL'): string | null {
  if (!(error instanceof Error)) return null
  const code = String((error as { code?: unknown }).code ?? '')
  const redis = `Redis at ${where}`
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `${redis} shows a certificate for another name (${code}): use the name it is for in ${variable}`
  }
  if (/^(CERT_|SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_|INVALID_CA|PATH_LENGTH_|ERR_TLS_CERT)/.test(code)) {
    return `${redis} shows a certificate that does not verify (${code}): set REDIS_CA_FILE to the certificate of its authority`
  }
  if (/^(ERR_SSL_|EPROTO)/.test(code)) {
    const cure = `correct the scheme of ${variable}, or that server's tls settings (client certificates are not sent)`
    return `${redis} and this server cannot agree on TLS (${code}): ${cure}`
  }
  const [word] = error.message.split(' ', 1)
  if (word === 'WRONGPASS') return `${redis} refuses user or password of ${variable} (${word})`
  if (word === 'NOAUTH') return `${redis} asks for a password: put it into ${variable} (${word})`
  return word === 'NOPERM' ? `${redis} forbids a command to the user of ${variable} (${word})` : null
}
