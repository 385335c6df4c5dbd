import { Compile } from 'typebox/compile'
import { Name } from '../http/schemas.js'
import { defineCommand } from './command.js'

const isName = Compile(Name)

export const createService = defineCommand({
  summary: 'Creates a service that may check tokens, and prints its token once.',
  details: 'The token goes into the Authorization header of POST /oauth/introspect, as Bearer or as the password of Basic. No two services have one name: to replace a token, create a service of another name, put its token in place, then end the old one with services:delete.',
  options: {
    name: {
      type: 'string',
      value: 'NAME',
      required: true,
      help: 'what administrators see',
      check: name => isName.Check(name) ? null : 'takes 1 to 200 printable characters'
    }
  },
  async run ({ serviceTokens }, { values: { name } }) {
    const { plain, service: { id, createdAt } } = await serviceTokens.create(name)
    const json = { id, name, createdAt: createdAt.toISOString(), accessToken: plain.reveal() }
    return { json, text: `Created the service ${name} (${id}). Its token, shown this once:\n${json.accessToken}` }
  }
})
