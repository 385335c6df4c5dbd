import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { embeddedGround, startApp } from '../fixtures/app.js'
import { root } from '../fixtures/programs.js'

/** The part of @seriousme/openapi-schema-validator that is used here. */
interface Package {
  Validator: new () => { version?: string, validate (document: object): Promise<{ valid: boolean, errors?: unknown }> }
}

t.test('the OpenAPI document is valid by the schema of its specification', async t => {
  const { Validator } = await import(
    pathToFileURL(join(root, 'test/slow/node_modules/@seriousme/openapi-schema-validator/index.js')).href
  ) as Package
  for (const env of [{}, { PUBLIC_URL: 'https://auth.example.com/base' }] as Array<Record<string, string>>) {
    const one = await startApp(t, await embeddedGround(), { env })
    const openapi = (await one.call('GET', '/openapi.json')).json<object>()
    const validator = new Validator()
    const { valid, errors } = await validator.validate(openapi)
    t.ok(valid, JSON.stringify(errors, null, 2))
    t.equal(validator.version, '3.1')
    t.notOk((await new Validator().validate({ ...openapi, info: {} })).valid, 'one that is not would be noticed')
  }
})
