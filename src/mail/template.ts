import type { Kind } from './messages.js'

/** The pages and the service that mails point at; null where the operator has named none. */
export interface Places { appUrl: string | null, publicUrl: string | null }

/** Where and when something happened, for its owner to recognise. */
export interface Circumstances { at: Date, address: string | null, userAgent: string | null }

/** A mail as people read it. */
export interface Words { subject: string, text: string, html: string }

const routes = { reset: ['/v1/password/reset', '{"token": "...", "password": "the new one"}'], verify: ['/v1/email/verify', '{"token": "..."}'] } as const

/** Words for a mail, in ASCII unless an address or a device is not. The token goes into a link to APP_URL, behind the #: browsers send that to nobody. Without APP_URL it stands by itself. */
export function write (kind: Kind, { appUrl, publicUrl }: Places, token: string | null, circumstances: Circumstances | null): Words {
  const site = appUrl ?? publicUrl
  const facts = circumstances === null ? [] : factsOf(circumstances)
  const link = token !== null && appUrl !== null ? `${appUrl}#token=${token}` : null
  const means = token === null || kind.token === undefined || link !== null ? null : howTo(kind.token.purpose, publicUrl)
  const closing = [...kind.adds, ...site === null ? [] : [`This mail concerns ${site}`]]

  const text = [
    ...kind.says,
    ...facts.length === 0 ? [] : [facts.map(([name, value]) => `${name}: ${value}`).join('\n')],
    ...token === null ? [] : [link ?? token],
    ...means === null ? [] : [means],
    ...closing
  ].join('\n\n')

  const html = [
    '<!doctype html>',
    `<html lang="en"><head><meta charset="utf-8"><title>${escapeHtml(kind.subject)}</title></head>`,
    '<body style="font-family:sans-serif;max-width:36em">',
    ...kind.says.map(paragraph),
    ...facts.length === 0 ? [] : ['<p>', ...facts.map(([name, value]) => `${escapeHtml(name)}: ${escapeHtml(value)}<br>`), '</p>'],
    ...link === null ? [] : [`<p><a href="${escapeHtml(link)}">${escapeHtml(kind.token?.button ?? 'Go on')}</a></p>`],
    ...token === null || link !== null ? [] : [`<p><code>${escapeHtml(token)}</code></p>`],
    ...means === null ? [] : [paragraph(means)],
    ...closing.map(paragraph),
    '</body></html>'
  ].join('\n')
  return { subject: kind.subject, text: `${text}\n`, html: `${html}\n` }
}

function howTo (purpose: 'reset' | 'verify', publicUrl: string | null): string {
  const [route, body] = routes[purpose]
  return `Give this token to the application that you use, or send it yourself: POST ${publicUrl?.replace(/\/$/, '') ?? ''}${route} ${body}`
}

function factsOf ({ at, address, userAgent }: Circumstances): Array<[string, string]> {
  const facts: Array<[string, string]> = [['When', `${at.toISOString().slice(0, 16).replace('T', ' ')} UTC`]]
  if (address !== null) facts.push(['From', readable(address)])
  if (userAgent !== null) facts.push(['Device', readable(userAgent)])
  return facts
}

/** What a stranger may have sent: one line, not too long, and nothing that a mail program would make a link of. */
function readable (text: string): string {
  return text.replace(/\bhttps?:\S*|\bwww\.\S*/gi, '').replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ').trim().slice(0, 160)
}

const paragraph = (text: string) => `<p>${escapeHtml(text)}</p>`

/** ASCII alone, so that no program on the way has to know a character set. */
function escapeHtml (text: string): string {
  return text.replace(/[&<>"'\u0080-\u{10ffff}]/gu, character => `&#${character.codePointAt(0)};`)
}
