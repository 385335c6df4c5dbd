import { type Config, ConfigError, loadConfig } from '../config/config.js'
import { type Environment, environmentSchema } from '../config/environment.js'

type Camel<Name extends string> = Name extends `${infer First}_${infer Rest}`
  ? `${Lowercase<First>}${Capitalize<Camel<Rest>>}`
  : Lowercase<Name>

/** The variables of the README's table by their names in camelCase; those that the server has must be the same here. */
export type EnvironmentOptions = {
  [Name in keyof Environment as Camel<Name & string>]?: string | number | boolean | string[] | undefined
}

/** The configuration that `options` stand for; nothing is read from the process's own environment. Throws ConfigError. */
export function readOptions (options: EnvironmentOptions): Config {
  const variables = Object.entries(options).filter(([, value]) => value !== undefined)
    .map(([option, value]) => [variableOf(option), Array.isArray(value) ? value.join(',') : String(value)] as const)
  const unknown = variables.filter(([name]) => !Object.hasOwn(environmentSchema.properties, name)).map(([name]) => name)
  if (unknown.length > 0) throw new ConfigError(`Unknown options of a verifier: ${unknown.join(', ')}`)
  return loadConfig(Object.fromEntries(variables))
}

/** `redisKeyPrefix` is REDIS_KEY_PREFIX. */
const variableOf = (option: string) => option.replace(/[A-Z]/g, letter => `_${letter}`).toUpperCase()
