import { randomUUID } from 'node:crypto'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import nodemailer, { type SendMailOptions } from 'nodemailer'
import type { Smtp } from '../config/smtp.js'
import { describe } from '../shared/errors.js'
import type { Letter, Mailer, Posted } from './mailer.js'

/** What has a place between the brackets of RCPT TO. Of anything else nodemailer would make what it can: somebody else's address. */
const mailbox = /^[^\s<>\p{C}]+@[^\s<>@\p{C}]+$/u

/** Letters over SMTP, a connection each. Certificates are verified; `ca` is for tests, an operator's own goes into NODE_EXTRA_CA_CERTS. */
export function createSmtpMailer ({ host, port, tls, user, password }: Smtp, from: string, ca?: string): Mailer {
  const transport = nodemailer.createTransport({
    host,
    port,
    secure: tls === 'implicit',
    requireTLS: tls === 'required',
    ignoreTLS: tls === 'off',
    ...user === null ? {} : { auth: { user, pass: password ?? '' } },
    ...ca === undefined ? {} : { tls: { ca } },
    dnsTimeout: 5_000,
    connectionTimeout: 5_000,
    greetingTimeout: 10_000,
    socketTimeout: 20_000,
    disableFileAccess: true,
    disableUrlAccess: true
  })
  return {
    async post (letter, signal) {
      if (!mailbox.test(letter.to)) return { outcome: 'refused', failure: 'not a mailbox', status: null }
      try {
        await transport.sendMail({ ...messageOf(letter, from), signal })
        return { outcome: 'sent' }
      } catch (error) {
        return judge(error)
      }
    }
  }
}

/** Letters as files that their owner alone may read, in a folder that only he may enter: for development, where nobody has an SMTP server. */
export function createFileMailer (folder: string, from: string): Mailer {
  const transport = nodemailer.createTransport({ streamTransport: true, buffer: true, newline: 'unix', disableFileAccess: true, disableUrlAccess: true })
  return {
    async post (letter) {
      try {
        const { message } = await transport.sendMail(messageOf(letter, from))
        await mkdir(folder, { recursive: true, mode: 0o700 })
        const name = `${new Date().toISOString().replaceAll(':', '-')}-${letter.kind}-${letter.id}`
        const unfinished = join(folder, `.${randomUUID()}`)
        await writeFile(unfinished, message as Buffer, { mode: 0o600, flag: 'wx' })
        await rename(unfinished, join(folder, `${name}.eml`)).catch(async (error: unknown) => {
          await rm(unfinished, { force: true })
          throw error
        })
        return { outcome: 'sent' }
      } catch (error) {
        return { outcome: 'unreachable', failure: describe(error), status: null }
      }
    }
  }
}

function messageOf ({ id, to, subject, text, html }: Letter, from: string): SendMailOptions {
  const domain = /@([^@>]+)>?$/.exec(from)?.[1] ?? 'localhost'
  return {
    from,
    // An object, so that no comma or bracket in it makes two addresses of one.
    to: { name: '', address: to },
    subject,
    messageId: `<${id}@${domain}>`,
    headers: { 'Auto-Submitted': 'auto-generated', 'X-Auto-Response-Suppress': 'All' },
    xMailer: false,
    alternatives: [part('text/plain', text), part('text/html', html)]
  }
}

/** As it stands wherever it can be, for whoever reads a file: nodemailer would encode every long line, and so each link. */
function part (contentType: string, content: string) {
  if (/[^\t\n\x20-\x7e]|[^\n]{900}/.test(content)) return { contentType: `${contentType}; charset=utf-8`, content }
  return { raw: `Content-Type: ${contentType}; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n${content.replaceAll('\n', '\r\n')}` }
}

/** Neither nodemailer's message nor the server's answer goes any further: both may repeat addresses, and a password. */
function judge (error: unknown): Posted {
  const { code = '', command = '', responseCode = null } = error as { code?: string, command?: string, responseCode?: number | null }
  const reason = { failure: describe(error), status: responseCode }
  const permanent = responseCode !== null && responseCode >= 500 && responseCode !== 503
  // An address that this server won't ever take. A sender it won't take is the operator's to mend.
  if (code === 'EENVELOPE' && command === 'RCPT TO' && permanent) return { outcome: 'refused', ...reason }
  return { outcome: code === 'EENVELOPE' || code === 'EMESSAGE' ? 'failed' : 'unreachable', ...reason }
}
