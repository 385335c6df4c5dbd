/**
 * What a verifier reads: the look-ups of a token and of a session's data, the epoch and the settlements' ages, and the two keys that are no
 * secret of passwords. By columns (`ctid`, a row's place, serves last uses), so that neither hashes of passwords nor a user's other data
 * can be read.
 */
const readable: Record<string, string[]> = {
  tokens: ['id', 'hash', 'kind', 'user_id', 'session_id', 'abilities', 'created_at', 'expires_at', 'revoked_at', 'last_used_at', 'ctid'],
  sessions: ['id', 'device_name', 'created_at', 'last_used_at', 'expires_at', 'ended_at', 'amr', 'ctid'],
  session_data: ['session_id', 'version', 'data'],
  users: ['id', 'email', 'email_verified_at', 'name', 'role', 'created_at', 'disabled_at', 'second_factor'],
  cache_epoch: ['id', 'generation', 'incarnation', 'confirmed_at', 'retired'],
  cache_settlements: ['id', 'created_at', 'help'],
  verifier_keys: ['name', 'value']
}

/** Last uses are all that a verifier writes. */
const writable: Record<string, string[]> = { tokens: ['last_used_at'], sessions: ['last_used_at'] }

/**
 * The SQL that makes a role of this name for verifiers of the tables in `schema`, or brings it up to date; to be run by the owner of the
 * tables or a superuser.
 */
export function verifierRoleSql (name: string, schema: string): string {
  const [role, place] = [quoted(name), quoted(schema)]
  const grants = (right: string, columns: Record<string, string[]>) =>
    Object.entries(columns).map(([table, names]) => `GRANT ${right} (${names.join(', ')}) ON ${place}.${table} TO ${role};`)
  return [
    '-- What a verifier of Latchkey needs, and no more. Give the role a password, or let pg_hba.conf decide who may use it.',
    'BEGIN;',
    `DO $$ BEGIN CREATE ROLE ${role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;`,
    `GRANT USAGE ON SCHEMA ${place} TO ${role};`,
    `REVOKE ALL ON ALL TABLES IN SCHEMA ${place} FROM ${role};`,
    `GRANT SELECT ON ${place}.latchkey_migrations TO ${role};`,
    ...grants('SELECT', readable),
    ...grants('UPDATE', writable),
    'COMMIT;'
  ].join('\n')
}

/** An identifier (PostgreSQL, 4.1.1). */
const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`
