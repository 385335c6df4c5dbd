import type { Device } from '../shared/device.js'
import { findLanguage } from '../shared/language.js'
import type { MailTexts } from './messages.js'
import { arabic } from './texts/ar.js'
import { german } from './texts/de.js'
import { english } from './texts/en.js'

/** The languages of mails by their tags, the same as those of the pages. The outbox and the accounts store the tags. */
export const languages = { en: english, de: german, ar: arabic } as const satisfies Record<string, MailTexts>

export type MailLanguage = keyof typeof languages

/** What an account and a mail are written in where nothing else is known. */
export const defaultLanguage: MailLanguage = 'en'

const known = Object.keys(languages) as MailLanguage[]

/** The language that a client asks for; null where it asks for none of ours, as most programs do. */
export function languageOf (device: Device | null): MailLanguage | null {
  return findLanguage(known, device?.acceptLanguage)
}

/** A stored tag; null where it is none of ours: a later version may know more. */
export function toLanguage (tag: string | null): MailLanguage | null {
  return known.find(language => language === tag) ?? null
}
