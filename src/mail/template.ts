import { failureLimit } from '../attempts/service.js'
import { languages, type MailLanguage } from './language.js'
import { type MailKind, type MailText, type MailTokenUse, mailTokenUses } from './messages.js'

/**
 * APP_NAME, and the app and the API that mails point to; null where the operator has configured none. `hasPages`: the API has pages of its
 * own.
 */
export interface MailApp { name: string, appUrl: string | null, publicUrl: string | null, hasPages: boolean }

/** When and from where something happened, so that the owner can recognise it. */
export interface EventDetails { at: Date, address: string | null, userAgent: string | null }

/** What a mail says, in both formats. */
export interface RenderedMail { subject: string, text: string, html: string }

const requests = {
  reset: '/v1/password/reset {"token": "...", "password": "..."}',
  verify: '/v1/email/verify {"token": "..."}',
  registration: '/v1/email/verify {"token": "...", "password": "..."}'
} as const

/**
 * Renders a mail; in English it is ASCII unless a name, an address or a device isn't. The token goes into a link to APP_URL, or to a page
 * of ours, after the #, which browsers don't send to servers. Without either the mail shows the token itself.
 */
export function renderMail (
  kind: MailKind, language: MailLanguage, app: MailApp, { token, event }: { token: string | null, event: EventDetails | null }
): RenderedMail {
  const { direction, facts: names, howTo, about, mails } = languages[language]
  const use = mailTokenUses[kind]
  const { subject, intro, button, closing }: MailText = mails[kind]
  // FIRST STRONG ISOLATE: what is written from left to right keeps its order, and that of what is around it.
  const isolate = (text: string) => direction === 'rtl' ? `\u2068${text}\u2069` : text
  const values: Record<string, string> = {
    app: isolate(app.name),
    attempts: new Intl.NumberFormat(language).format(failureLimit),
    duration: use === null ? '' : durationIn(language, use.seconds)
  }
  const say = (text: string) => fill(text, values)

  const title = fill(subject, { ...values, app: app.name })
  const facts = event === null ? [] : factsOf(event, language).map(([name, value]) => `${names[name]}: ${isolate(value)}`)
  const page = token === null || use === null ? null : pageFor(use, app)
  const link = page === null ? null : `${page}#token=${token}`
  const request = token === null || use === null || link !== null ? null : isolate(requestFor(use, app))
  const instructions = request === null ? [] : [fill(howTo, { request })]
  const site = app.appUrl ?? app.publicUrl
  const last = [...closing.map(say), ...site === null ? [] : [fill(about, { site: isolate(site) })]]

  const text = [
    ...intro.map(say),
    ...facts.length === 0 ? [] : [facts.join('\n')],
    ...token === null ? [] : [link ?? token],
    ...instructions,
    ...last
  ].join('\n\n')

  const html = [
    '<!doctype html>',
    `<html lang="${language}" dir="${direction}"><head><meta charset="utf-8"><title>${escapeHtml(title)}</title></head>`,
    `<body dir="${direction}" style="font-family:sans-serif;max-width:36em">`,
    ...intro.map(say).map(paragraph),
    ...facts.length === 0 ? [] : ['<p>', ...facts.map(fact => `${escapeHtml(fact)}<br>`), '</p>'],
    ...link === null ? [] : [`<p><a href="${escapeHtml(link)}">${escapeHtml(button ?? link)}</a></p>`],
    ...token === null || link !== null ? [] : [`<p><code dir="ltr">${escapeHtml(token)}</code></p>`],
    ...instructions.map(paragraph),
    ...last.map(paragraph),
    '</body></html>'
  ].join('\n')
  return { subject: title, text: `${text}\n`, html: `${html}\n` }
}

function pageFor ({ purpose }: MailTokenUse, { appUrl, publicUrl, hasPages }: MailApp): string | null {
  if (appUrl !== null) return appUrl
  return hasPages && publicUrl !== null ? `${publicUrl}/account/${purpose}` : null
}

function requestFor ({ kind, purpose }: MailTokenUse, { publicUrl }: MailApp): string {
  return `POST ${publicUrl ?? ''}${requests[kind === 'registration' ? kind : purpose]}`
}

/** `text` with each `{name}` replaced by that value. */
const fill = (text: string, values: Record<string, string>) => text.replace(/\{(\w+)\}/g, (_whole, name: string) => values[name] ?? '')

function durationIn (language: MailLanguage, seconds: number): string {
  const [unit, length] = seconds < 86_400 ? ['hour', 3_600] : ['day', 86_400]
  return new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'long' }).format(seconds / length)
}

/** In UTC: nobody knows the reader's zone. */
const moment = {
  year: 'numeric', month: 'long', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23', timeZone: 'UTC', timeZoneName: 'short'
} as const

function factsOf ({ at, address, userAgent }: EventDetails, language: MailLanguage): Array<['when' | 'address' | 'device', string]> {
  const facts: ReturnType<typeof factsOf> = [['when', new Intl.DateTimeFormat(language, moment).format(at)]]
  if (address !== null) facts.push(['address', harmless(address)])
  if (userAgent !== null) facts.push(['device', harmless(userAgent)])
  return facts
}

/** Text that a stranger may have sent: one line, not too long, and nothing that a mail program would turn into a link. */
function harmless (text: string): string {
  const line = text.replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ')
  // A name with a dot in it, or an @, is a link to many of them, without any scheme. Version numbers are not: 130.0.0.0 has no letters.
  return line.replace(/[a-z][a-z0-9+.-]*:\/\/\S*|\bwww\.\S*/gi, '').replace(/[.\u3002\uff0e\uff61](?=\p{L}|xn--)|[@\uff20]/gu, ' ').trim()
    .slice(0, 160)
}

const paragraph = (text: string) => `<p>${escapeHtml(text)}</p>`

/** Only ASCII comes out, so that no mail server on the way has to know a character set. */
function escapeHtml (text: string): string {
  return text.replace(/[&<>"'\u0080-\u{10ffff}]/gu, character => `&#${character.codePointAt(0)};`)
}
