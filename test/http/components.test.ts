import t from 'tap'
import { withComponents } from '../../src/http/components.js'

const user = { title: 'User', type: 'object', properties: { id: { type: 'string' } }, required: ['id'] }
const component = { type: 'object', properties: { id: { type: 'string' } }, required: ['id'] }
const toUser = { $ref: '#/components/schemas/User' }

/** A document with one answer for each of `schemas`. */
const documentOf = (...schemas: object[]) => ({
  openapi: '3.1.0',
  paths: Object.fromEntries(schemas.map((schema, i) =>
    [`/${i}`, { get: { responses: { 200: { description: 'OK', content: { 'application/json': { schema } } } } } }]))
})

/** The same schemas with references, and the components that they refer to. */
function taken (...schemas: object[]) {
  const { paths, components } = withComponents<ReturnType<typeof documentOf> & { components?: { schemas?: object } }>(documentOf(...schemas))
  const answers = Object.values(paths).map(path => path.get.responses[200].content['application/json'].schema)
  return { answers, components: components?.schemas }
}

t.test('a schema with a title becomes a component, wherever it stands', async t => {
  const list = { type: 'object', properties: { users: { type: 'array', items: user }, either: { anyOf: [user, { type: 'string' }] } } }
  const { answers, components } = taken(user, list)
  t.strictSame(answers, [
    toUser,
    { type: 'object', properties: { users: { type: 'array', items: toUser }, either: { anyOf: [toUser, { type: 'string' }] } } }
  ])
  t.strictSame(components, { User: component })
})

t.test('one within another is referred to by it, and components are in alphabetical order', async t => {
  const { answers, components } = taken({ title: 'Zebra', type: 'object', properties: { owner: user } })
  t.strictSame(answers, [{ $ref: '#/components/schemas/Zebra' }])
  t.strictSame(Object.entries(components ?? {}), [['User', component], ['Zebra', { type: 'object', properties: { owner: toUser } }]])
})

t.test('one that may be null is the same component, beside null', async t => {
  const { answers, components } = taken(user, { ...user, type: ['object', 'null'] })
  t.strictSame(answers, [toUser, { anyOf: [toUser, { type: 'null' }] }])
  t.strictSame(components, { User: component })
  const kind = { title: 'Kind', type: ['string', 'integer', 'null'], enum: ['a', 1, null] }
  t.strictSame(taken(kind).components, { Kind: { type: ['string', 'integer'], enum: ['a', 1] } })
})

t.test('a description stays where it is, and does not make two schemas of one', async t => {
  const described = { ...user, description: 'Who asked' }
  const { answers, components } = taken({ type: 'array', items: described }, { type: 'array', items: user }, described)
  t.strictSame(
    answers,
    [{ type: 'array', items: { ...toUser, description: 'Who asked' } }, { type: 'array', items: toUser }, toUser],
    'but for that of a whole body, which its answer has'
  )
  t.strictSame(components, { User: component })
})

t.test('two schemas that differ cannot have one title', async t => {
  t.throws(() => taken(user, { ...user, required: [] }), /Two schemas that differ have the title User/)
  t.doesNotThrow(() => taken(user, Object.fromEntries(Object.entries(user).reverse())), 'the order of keywords is no difference')
})

t.test('fields that are called like keywords, and values that look like schemas, are left alone', async t => {
  const book = {
    type: 'object',
    properties: { title: { type: 'string' }, properties: user, default: user, schema: { type: 'string', description: 'MARC' } },
    examples: [{ title: 'Emma', properties: { title: 'User' } }],
    default: { title: 'Emma' }
  }
  const { answers, components } = taken(book)
  t.strictSame(answers, [{ ...book, properties: { ...book.properties, properties: toUser, default: toUser } }])
  t.strictSame(components, { User: component })
})

t.test('the document given stays as it was, and so do its own components', async t => {
  const given = { ...documentOf(user), components: { securitySchemes: { bearer: {} }, schemas: { Own: { type: 'string' } } } }
  const before = structuredClone(given)
  t.strictSame(withComponents(given).components, { securitySchemes: { bearer: {} }, schemas: { Own: { type: 'string' }, User: component } })
  t.strictSame(given, before)
})
