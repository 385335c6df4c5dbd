import type { AuthError } from 'latchkey-client'
import { isKey, t } from './i18n.js'
import { settings } from './settings.js'

/** The fields, by name, that a refusal is about where the server names none. */
const fields: Record<string, string[]> = {
  AUTH_EMAIL_TAKEN: ['email'],
  AUTH_WRONG_PASSWORD: ['currentPassword', 'password'],
  AUTH_SECOND_FACTOR_INVALID: ['totp', 'recoveryCode', 'code']
}

/** What a person is told about a refusal: by its code and its reason or field, else that something went wrong, with the code. */
export function textOf ({ code, reason, field, retryAfterSeconds }: AuthError): string {
  const values = { code, seconds: retryAfterSeconds ?? 1, min: settings.passwordMinLength }
  const key = [`error.${code}.${reason ?? field}`, `error.${code}`].find(isKey)
  return key === undefined ? t('error.unknown', values) : t(key, values)
}

/** The names of fields that a refusal may be about. */
export function fieldsOf ({ code, field }: AuthError): string[] {
  return [...field === undefined ? [] : [field], ...fields[code] ?? []]
}
