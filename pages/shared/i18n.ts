import { createStore } from './store.js'

/** The name of a text. */
export type Key = keyof typeof import('../texts/en.json')
export type Texts = Record<Key, string>
export type Language = keyof typeof languages

/** Every language by the name that its speakers give it. A file is loaded when its language is shown. */
export const languages = { en: 'English', de: 'Deutsch', ar: 'العربية' }

const files: Record<Language, () => Promise<{ default: Texts }>> = {
  en: () => import('../texts/en.json'),
  de: () => import('../texts/de.json'),
  ar: () => import('../texts/ar.json')
}

/** Where the choice is kept. */
const storageKey = 'latchkey/language'

const current = createStore<{ language: Language, texts: Texts }>({ language: 'en', texts: {} as Texts })

/** The language and texts that are shown; the topmost component follows it. */
export const shown = current

/** Loads the texts of the language that was chosen here before, else of the one that the server has chosen. */
export async function loadTexts (): Promise<void> {
  await show(kept() ?? (isLanguage(document.documentElement.lang) ? document.documentElement.lang : 'en'))
}

/** Shows the pages in `language` from now on, here and on the next visit. */
export async function chooseLanguage (language: Language): Promise<void> {
  try { localStorage.setItem(storageKey, language) } catch {}
  await show(language)
}

async function show (language: Language): Promise<void> {
  const { default: texts } = await files[language]()
  document.documentElement.lang = language
  document.documentElement.dir = texts['language.direction']
  current.set({ language, texts })
}

function kept (): Language | null {
  try {
    const language = localStorage.getItem(storageKey)
    return isLanguage(language) ? language : null
  } catch {
    return null
  }
}

function isLanguage (text: string | null): text is Language {
  return text !== null && Object.hasOwn(languages, text)
}

/** The text `key` in the language that is shown, with each `{name}` replaced by that value. */
export function t (key: Key, values: Record<string, string | number> = {}): string {
  const { texts } = current.get()
  return texts[key].replace(/\{(\w+)\}/g, (_whole, name: string) => {
    const value = values[name] ?? ''
    if (typeof value === 'number') return formatNumber(value)
    // FIRST STRONG ISOLATE: an address keeps its order, and that of what is around it.
    return texts['language.direction'] === 'rtl' ? `\u2068${value}\u2069` : value
  })
}

/** The names of texts that begin like that. */
export const keys = (prefix: string): Key[] => (Object.keys(current.get().texts) as Key[]).filter(key => key.startsWith(prefix))

/** Whether there is a text of that name. */
export function isKey (key: string): key is Key {
  return Object.hasOwn(current.get().texts, key)
}

/** A point in time of the wire (RFC 3339), to the minute, in the reader's zone. */
export function formatMoment (moment: string): string {
  return timeOf({ dateStyle: 'medium', timeStyle: 'short' })(moment)
}

const timeOf = (options: Intl.DateTimeFormatOptions) => (moment: string | number): string =>
  new Intl.DateTimeFormat(current.get().language, options).format(new Date(moment))
const numberOf = (options: Intl.NumberFormatOptions) => (number: number): string =>
  new Intl.NumberFormat(current.get().language, options).format(number)

/** The time of day, to the second. */
export const formatTime = timeOf({ timeStyle: 'medium' })

/** The hour that begins then. */
export const formatHour = timeOf({ weekday: 'short', day: 'numeric', month: 'short', hour: 'numeric', minute: '2-digit' })

const formatDay = timeOf({ weekday: 'short', day: 'numeric' })
const formatClock = timeOf({ hour: 'numeric', minute: '2-digit' })

/** A point on an axis of time. `byDay`: days are what matters. */
export const formatTick = (moment: number, byDay: boolean): string => (byDay ? formatDay : formatClock)(moment)

export const formatNumber = numberOf({})

/** A share, 0 to 1. */
export const formatShare = numberOf({ style: 'percent', maximumFractionDigits: 1 })

export const formatSeconds = numberOf({ style: 'unit', unit: 'second', maximumFractionDigits: 3 })

/** Bytes, in megabytes. */
export const formatBytes = (bytes: number): string =>
  numberOf({ style: 'unit', unit: 'megabyte', maximumFractionDigits: 1 })(bytes / 1_000_000)
