import type { MailTokenUse, MessageText } from './messages.js'

/** The app and the API that mails point to; null where the operator has configured none. `hasPages`: the API has pages of its own. */
export interface MailUrls { appUrl: string | null, publicUrl: string | null, hasPages: boolean }

/** When and from where something happened, so that the owner can recognise it. */
export interface EventDetails { at: Date, address: string | null, userAgent: string | null }

/** What a mail says, in both formats. */
export interface RenderedMail { subject: string, text: string, html: string }

const routes = {
  reset: ['/v1/password/reset', '{"token": "...", "password": "the new one"}'],
  verify: ['/v1/email/verify', '{"token": "..."}'],
  registration: ['/v1/email/verify', '{"token": "...", "password": "the one you chose"}']
} as const

/**
 * Renders a mail, in ASCII unless an address or a device name isn't. The token goes into a link to APP_URL, or to a page of ours, after
 * the #, which browsers don't send to servers. Without either the mail shows the token itself.
 */
export function renderMail (message: MessageText, urls: MailUrls, token: string | null, event: EventDetails | null): RenderedMail {
  const { appUrl, publicUrl } = urls
  const site = appUrl ?? publicUrl
  const facts = event === null ? [] : factsOf(event)
  const page = token === null || message.token === undefined ? null : pageFor(message.token, urls)
  const link = page === null ? null : `${page}#token=${token}`
  const howTo = token === null || message.token === undefined || link !== null ? null : instructions(message.token, publicUrl)
  const closing = [...message.closing, ...site === null ? [] : [`This mail is about ${site}`]]

  const text = [
    ...message.intro,
    ...facts.length === 0 ? [] : [facts.map(([name, value]) => `${name}: ${value}`).join('\n')],
    ...token === null ? [] : [link ?? token],
    ...howTo === null ? [] : [howTo],
    ...closing
  ].join('\n\n')

  const html = [
    '<!doctype html>',
    `<html lang="en"><head><meta charset="utf-8"><title>${escapeHtml(message.subject)}</title></head>`,
    '<body style="font-family:sans-serif;max-width:36em">',
    ...message.intro.map(paragraph),
    ...facts.length === 0 ? [] : ['<p>', ...facts.map(([name, value]) => `${escapeHtml(name)}: ${escapeHtml(value)}<br>`), '</p>'],
    ...link === null ? [] : [`<p><a href="${escapeHtml(link)}">${escapeHtml(message.token?.button ?? 'Continue')}</a></p>`],
    ...token === null || link !== null ? [] : [`<p><code>${escapeHtml(token)}</code></p>`],
    ...howTo === null ? [] : [paragraph(howTo)],
    ...closing.map(paragraph),
    '</body></html>'
  ].join('\n')
  return { subject: message.subject, text: `${text}\n`, html: `${html}\n` }
}

function pageFor ({ purpose }: MailTokenUse, { appUrl, publicUrl, hasPages }: MailUrls): string | null {
  if (appUrl !== null) return appUrl
  return hasPages && publicUrl !== null ? `${publicUrl}/account/${purpose}` : null
}

function instructions ({ kind, purpose }: MailTokenUse, publicUrl: string | null): string {
  const [route, body] = routes[kind === 'registration' ? kind : purpose]
  return `Enter this token in the app that you use, or send it yourself: POST ${publicUrl ?? ''}${route} ${body}`
}

function factsOf ({ at, address, userAgent }: EventDetails): Array<[string, string]> {
  const facts: Array<[string, string]> = [['When', `${at.toISOString().slice(0, 16).replace('T', ' ')} UTC`]]
  if (address !== null) facts.push(['From', harmless(address)])
  if (userAgent !== null) facts.push(['Device', harmless(userAgent)])
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
