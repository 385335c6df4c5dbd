import { randomBytes } from 'node:crypto'
import { Compile } from 'typebox/compile'
import { operator } from '../admin/service.js'
import { Email, Name, Password } from '../http/schemas.js'
import { type Command, textOf } from './command.js'

const [isEmail, isName, isPassword] = [Compile(Email), Compile(Name), Compile(Password)]

export const createUser: Command = {
  help: `Usage: npm run users:create -- --email ADDRESS [--name NAME] [--admin] [--password-stdin] [--json]

Makes an account, whatever REGISTRATION says. Without --password-stdin its password is made up and shown, this once.
  --email ADDRESS   of the new account
  --name NAME       what to call its owner
  --admin           make it an administrator's
  --password-stdin  read the password from the standard input: its first line; at a terminal it is asked for
  --json            print account and password as JSON`,
  options: { email: { type: 'string' }, name: { type: 'string' }, admin: { type: 'boolean' }, 'password-stdin': { type: 'boolean' } },
  readsPassword: values => values['password-stdin'] === true,
  check (values) {
    const name = textOf(values, 'name')
    if (!isEmail.Check(textOf(values, 'email'))) return '--email takes the address of the new account.'
    return name !== undefined && !isName.Check(name) ? '--name takes 1 to 200 characters, and no control character.' : null
  },
  async run ({ admin }, values, _files, given) {
    if (given !== undefined && !isPassword.Check(given)) throw new Error('The standard input has no password in its first line, or one that is too long.')
    const password = given ?? randomBytes(18).toString('base64url')
    const user = await admin.create(operator, { email: textOf(values, 'email') ?? '', name: textOf(values, 'name'), role: values.admin === true ? 'admin' : 'user', password })
    const made = `Made the account of ${user.email}${user.role === 'admin' ? ', an administrator' : ''}.`
    return given === undefined
      ? { json: { user, password }, text: `${made}\nIts password, shown this once: ${password}` }
      : { json: { user }, text: made }
  }
}
