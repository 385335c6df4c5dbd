import type { LocalCommand } from './command.js'

export const migrateDatabase: LocalCommand = {
  summary: 'Brings the database to the newest schema, and creates it where it is embedded.',
  details: 'A server does the same when it starts; several at once do it once.',
  options: {},
  async runLocally ({ migrate }) {
    await migrate()
    return { json: { migrated: true }, text: 'The database is at the newest schema.' }
  }
}
