import { verifierRoleSql } from '../verifier/role.js'
import { defineLocalCommand } from './command.js'

export const verifierRole = defineLocalCommand({
  summary: 'Prints the SQL of a PostgreSQL role for verifiers, and changes nothing.',
  details: 'The role reads what a check of a token needs and writes last uses: no hash of a password, no key of passwords. The tables are those in DATABASE_SCHEMA. Run the SQL as the owner of the tables, with psql for example, after each upgrade of Latchkey.',
  options: {
    name: {
      type: 'string',
      value: 'ROLE',
      help: 'the role; latchkey_verifier by default',
      check: name => /^[^\p{C}]{1,63}$/u.test(name) && !/\$/.test(name) ? null : 'takes 1 to 63 printable characters without $'
    }
  },
  async runLocally ({ checkConfig }, { values: { name = 'latchkey_verifier' } }) {
    const schema = checkConfig().variables.find(variable => variable.name === 'DATABASE_SCHEMA')?.value ?? 'public'
    const sql = verifierRoleSql(name, schema)
    return { json: { role: name, sql }, text: sql }
  }
})
