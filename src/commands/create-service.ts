import { Compile } from 'typebox/compile'
import { Name } from '../http/schemas.js'
import type { Command } from './command.js'

const isName = Compile(Name)

export const createService: Command = {
  help: `Usage: npm run services:create -- --name NAME [--json]

Makes a service that may ask whose a token is: its token goes into the Authorization header of POST /oauth/introspect, as Bearer or as the
password of Basic. It is shown once, here. A name may be used again, so that a new token can relieve an old one.
  --name NAME  what admins see it as
  --json       print it as JSON`,
  options: { name: { type: 'string' } },
  check: ({ name }) => isName.Check(name) ? null : '--name has to be given, with 1 to 200 printable characters.',
  async run ({ serviceTokens }, { name }) {
    const { plain, service: { id, createdAt } } = await serviceTokens.create(String(name))
    const json = { id, name, createdAt: createdAt.toISOString(), accessToken: plain.reveal() }
    return { json, text: `Made the service ${name} (${id}). Its token, shown this once:\n${json.accessToken}` }
  }
}
