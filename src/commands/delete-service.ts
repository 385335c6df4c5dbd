import { isUuid } from '../shared/ids.js'
import { everyEntry } from '../shared/pagination.js'
import { type CommandServices, defineCommand } from './command.js'

export const deleteService = defineCommand({
  summary: 'Ends a service: its token stops working at once, on every instance.',
  details: 'Where several services have the name, say which by its id: services:list shows both.',
  usage: '--name NAME | --id ID',
  options: {
    name: { type: 'string', value: 'NAME', help: 'the name of the service' },
    id: { type: 'string', value: 'ID', help: 'its id', check: id => isUuid(id) ? null : 'takes an id, as services:list shows it' }
  },
  check: ({ name, id }) => (name === undefined) === (id === undefined) ? 'Say which: --name NAME, or --id ID.' : null,
  question: ({ name, id }) => `End the service ${name ?? id}, so that its token checks no more tokens?`,
  async run (services, { values }) {
    const { id, name } = await requireService(services, values)
    await services.serviceTokens.endByOperator(id)
    return { json: { id, name }, text: `Ended the service ${name} (${id}).` }
  }
})

interface Which { name?: string | undefined, id?: string | undefined }

async function requireService ({ serviceTokens }: Pick<CommandServices, 'serviceTokens'>, which: Which) {
  const services = await everyEntry(serviceTokens.list)
  const found = services.filter(({ id, name }) => which.id === undefined ? name === which.name : id === which.id)
  const [service, another] = found
  if (service === undefined) throw new Error('There is no such service: services:list shows which there are.')
  if (another === undefined) return service
  throw new Error(`There are ${found.length} services of this name: give the --id of one.\n${found.map(({ id }) => id).join('\n')}`)
}
