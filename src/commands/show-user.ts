import { toSession } from '../sessions/schemas.js'
import { everyEntry } from '../shared/pagination.js'
import { defineCommand, emailOption, requireAccount, shown } from './command.js'

export const showUser = defineCommand({
  summary: 'Shows an account: its state, its sessions and its personal tokens.',
  details: 'What is in the account, never a password or a token.',
  options: { email: emailOption },
  async run (services, { values }) {
    const user = await requireAccount(services, values.email)
    const live = await everyEntry(page => services.sessions.list(user.id, page))
    const sessions = live.map(session => {
      const { current: _, ...shown } = toSession(session, undefined)
      return shown
    })
    const personal = await everyEntry(page => services.tokens.listPersonal(user.id, page))
    const tokens = personal.map(({ createdAt, expiresAt, lastUsedAt, ...token }) => ({
      ...token,
      createdAt: createdAt.toISOString(),
      expiresAt: expiresAt?.toISOString() ?? null,
      lastUsedAt: lastUsedAt?.toISOString() ?? null
    }))
    const text = [
      `${user.email} (${user.id})`,
      `  name: ${shown(user.name ?? 'none')}`,
      `  role: ${user.role}`,
      `  created: ${user.createdAt}`,
      `  address verified: ${user.emailVerifiedAt ?? 'no'}`,
      `  disabled: ${user.disabledAt ?? 'no'}`,
      `Sessions: ${sessions.length}`,
      ...sessions.map(({ id, deviceName, userAgent, ip, lastUsedAt }) =>
        `  ${id}  ${shown(deviceName ?? userAgent?.slice(0, 80) ?? 'unknown device')}, from ${ip ?? 'an unknown address'}, last used ${lastUsedAt}`),
      `Personal tokens: ${tokens.length}`,
      ...tokens.map(({ id, name, abilities, expiresAt, lastUsedAt }) =>
        `  ${id}  ${shown(name)} (${abilities.join(' ')}), ${lastUsedAt === null ? 'never used' : `last used ${lastUsedAt}`}, ` +
        `${expiresAt === null ? 'never expires' : `expires ${expiresAt}`}`)
    ].join('\n')
    return { json: { user, sessions, tokens }, text }
  }
})
