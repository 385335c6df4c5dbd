import { isDeepStrictEqual } from 'node:util'

type Fields = Record<string, unknown>

/** Keywords whose values are examples of what a schema accepts, and no schemas. */
const givingValues = new Set(['const', 'default', 'enum', 'example', 'examples'])

/**
 * An OpenAPI 3.1 document whose titled schemas stand in `components.schemas`, by their titles, with references in their places. One that
 * also accepts null is the same component, beside null. A description says what a schema is for, and so stays in its place.
 * Throws if two schemas with the same title differ.
 */
export function withComponents<Document extends { paths?: object, components?: { schemas?: object } }> (document: Document): Document {
  const schemas: Record<string, Fields> = {}

  /** `node` with references. `isMap`: its fields are named by the API, and so are no keywords. */
  function withReferences (node: unknown, isMap = false): unknown {
    if (Array.isArray(node)) return node.map(item => withReferences(item))
    if (typeof node !== 'object' || node === null) return node
    const fields: Fields = Object.fromEntries(Object.entries(node).map(([name, value]) => {
      if (isMap) return [name, withReferences(value)]
      return [name, givingValues.has(name) ? value : withReferences(name === 'schema' ? undescribed(value) : value, name === 'properties')]
    }))
    return !isMap && typeof fields.title === 'string' ? referTo(fields.title, fields) : fields
  }

  function referTo (name: string, { title, description, ...schema }: Fields): Fields {
    const described = description === undefined ? {} : { description }
    const component = withoutNull(schema)
    const known = schemas[name] ??= component
    if (!isDeepStrictEqual(known, component)) throw new Error(`Two schemas that differ have the title ${name}`)
    const reference = { $ref: `#/components/schemas/${name}` }
    return acceptsNull(schema) ? { anyOf: [reference, { type: 'null' }], ...described } : { ...reference, ...described }
  }

  const paths = withReferences(document.paths)
  const sorted = Object.fromEntries(Object.entries(schemas).sort(([one], [other]) => one < other ? -1 : 1))
  return { ...document, paths, components: { ...document.components, schemas: { ...document.components?.schemas, ...sorted } } }
}

/** Whether null is among the types of a schema. */
export function acceptsNull ({ type }: { type?: unknown }): boolean {
  return Array.isArray(type) && type.includes('null')
}

/** A schema that accepts the same but null. */
export function withoutNull (schema: Fields): Fields {
  if (!acceptsNull(schema)) return schema
  const types = (schema.type as string[]).filter(type => type !== 'null')
  const { enum: words } = schema as { enum?: unknown[] }
  return {
    ...schema,
    type: types.length === 1 ? types[0] : types,
    ...words === undefined ? {} : { enum: words.filter(word => word !== null) }
  }
}

/** The schema of a whole body without its description, which the request or response around it has. */
function undescribed (schema: unknown): unknown {
  const { description, ...rest } = schema as Fields
  return rest
}
