import { randomBytes } from 'node:crypto'
import { Compile } from 'typebox/compile'
import { operator } from '../admin/service.js'
import { Email, Name, Password } from '../http/schemas.js'
import { defineCommand, emailOption } from './command.js'

const [isEmail, isName, isPassword] = [Compile(Email), Compile(Name), Compile(Password)]

export const createUser = defineCommand({
  summary: 'Creates an account, whatever REGISTRATION says.',
  details: 'Without --password-stdin it gets a random password, which is printed once.',
  options: {
    email: { ...emailOption, check: email => isEmail.Check(email) ? null : 'takes the address of the new account' },
    name: {
      type: 'string',
      value: 'NAME',
      help: "the owner's name",
      check: name => isName.Check(name) ? null : 'takes 1 to 200 printable characters'
    },
    admin: { type: 'boolean', help: 'make it an administrator' },
    'password-stdin': { type: 'boolean', help: 'read the password from the first line of the standard input; at a terminal, ask for it' }
  },
  readsPassword: values => values['password-stdin'],
  async run ({ admin }, { values: { email, name, admin: isAdmin }, password: given }) {
    if (given !== undefined &&
      !isPassword.Check(given)) throw new Error('The standard input has no password in its first line, or one that is too long.')
    const password = given ?? randomBytes(18).toString('base64url')
    const user = await admin.create(operator, { email, name, role: isAdmin ? 'admin' : 'user', password })
    const created = `Created the account of ${user.email}${user.role === 'admin' ? ', an administrator' : ''}.`
    return given === undefined
      ? { json: { user, password }, text: `${created}\nIts password, shown this once: ${password}` }
      : { json: { user }, text: created }
  }
})
