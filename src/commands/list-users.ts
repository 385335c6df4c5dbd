import { defineCommand } from './command.js'

const defaultLimit = 50
const maxLimit = 1_000

export const listUsers = defineCommand({
  summary: 'Lists accounts: those whose address begins with a text, or the newest.',
  details: 'Where there are more, it ends with the cursor that the next page begins at.',
  options: {
    email: { type: 'string', value: 'PREFIX', help: 'how the address begins' },
    limit: {
      type: 'string',
      value: 'NUMBER',
      help: `how many, ${defaultLimit} by default`,
      check: text => /^[1-9]\d{0,3}$/.test(text) && Number(text) <= maxLimit ? null : `takes a number from 1 to ${maxLimit}`
    },
    cursor: { type: 'string', value: 'CURSOR', help: 'where the page before ended' }
  },
  async run ({ admin }, { values: { email, limit, cursor } }) {
    const page = await admin.list({ email, cursor, limit: Number(limit ?? defaultLimit) })
    const lines = page.users.map(({ id, email, role, createdAt, emailVerifiedAt, disabledAt }) => {
      const marks = [role, emailVerifiedAt === null ? 'unverified' : 'verified', ...disabledAt === null ? [] : [`disabled ${disabledAt}`]]
      return `${id}  ${email}  ${marks.join(', ')}, created ${createdAt}`
    })
    if (page.nextCursor !== null) lines.push(`More: --cursor ${page.nextCursor}`)
    return { json: page, text: lines.join('\n') || 'There are no such accounts.' }
  }
})
