import { randomUUID } from 'node:crypto'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import nodemailer, { type SendMailOptions } from 'nodemailer'
import type { Smtp } from '../config/smtp.js'
import { describe } from '../shared/errors.js'
import type { DeliveryResult, Mailer, OutgoingMail } from './mailer.js'

/** What may stand between the brackets of RCPT TO. From anything else nodemailer would make some other address. */
const mailbox = /^[^\s<>\p{C}]+@[^\s<>@\p{C}]+$/u

/** `name`: said in EHLO; this machine's without it. `ca` is for tests: operators use NODE_EXTRA_CA_CERTS. */
export interface SmtpOptions { name?: string | undefined, ca?: string | undefined }

/** Sends mails over SMTP, with a connection each. Certificates are verified. */
export function createSmtpMailer ({ host, port, tls, user, password }: Smtp, from: string, { name, ca }: SmtpOptions = {}): Mailer {
  const transport = nodemailer.createTransport({
    host,
    port,
    secure: tls === 'implicit',
    requireTLS: tls === 'required',
    ignoreTLS: tls === 'off',
    ...user === null ? {} : { auth: { user, pass: password ?? '' } },
    ...name === undefined ? {} : { name },
    ...ca === undefined ? {} : { tls: { ca } },
    dnsTimeout: 5_000,
    connectionTimeout: 5_000,
    greetingTimeout: 10_000,
    socketTimeout: 20_000,
    disableFileAccess: true,
    disableUrlAccess: true
  })
  return {
    async send (mail, signal) {
      if (!mailbox.test(mail.to)) return { outcome: 'refused', failure: 'not a mailbox', status: null }
      try {
        await transport.sendMail({ ...messageOf(mail, from), signal })
        return { outcome: 'sent' }
      } catch (error) {
        return toResult(error)
      }
    }
  }
}

/** Writes mails to files that only their owner can read, for development without an SMTP server. */
export function createFileMailer (folder: string, from: string): Mailer {
  const access = { disableFileAccess: true, disableUrlAccess: true }
  const transport = nodemailer.createTransport({ streamTransport: true, buffer: true, newline: 'unix', ...access })
  return {
    async send (mail) {
      try {
        const { message } = await transport.sendMail(messageOf(mail, from))
        await mkdir(folder, { recursive: true, mode: 0o700 })
        const name = `${new Date().toISOString().replaceAll(':', '-')}-${mail.kind}-${mail.id}`
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

function messageOf ({ id, to, subject, text, html }: OutgoingMail, from: string): SendMailOptions {
  const domain = /@([^@>]+)>?$/.exec(from)?.[1] ?? 'localhost'
  return {
    from,
    // As an object: in a string, a comma or bracket would make two addresses of one.
    to: { name: '', address: to },
    subject,
    messageId: `<${id}@${domain}>`,
    headers: { 'Auto-Submitted': 'auto-generated', 'X-Auto-Response-Suppress': 'All' },
    xMailer: false,
    alternatives: [part('text/plain', text), part('text/html', html)]
  }
}

/** Unencoded where possible, so that files can be read: nodemailer would encode every long line, and so every link. */
function part (contentType: string, content: string) {
  if (/[^\t\n\x20-\x7e]|[^\n]{900}/.test(content)) return { contentType: `${contentType}; charset=utf-8`, content }
  const head = `Content-Type: ${contentType}; charset=utf-8\r\nContent-Transfer-Encoding: 7bit`
  return { raw: `${head}\r\n\r\n${content.replaceAll('\n', '\r\n')}` }
}

interface SmtpError { code: string, command: string, response: string, responseCode: number | null }

/** Drops nodemailer's message and the server's answer: both may repeat addresses and even a password. */
function toResult (error: unknown): DeliveryResult {
  const { code = '', command = '', response = '', responseCode = null } = error as Partial<SmtpError>
  // Some relays refuse the name at once, others only with the first recipient. It would be refused with every other mail, too.
  if (responseCode !== null && (/^(EHLO|HELO)$/.test(command) || /\b(helo|ehlo)\b/i.test(response))) {
    return { outcome: 'unreachable', failure: 'EHLO refused: the relay wants another name, set SMTP_NAME', status: responseCode }
  }
  const reason = { failure: describe(error), status: responseCode }
  const permanent = responseCode !== null && responseCode >= 500 && responseCode !== 503
  // The server will never accept this recipient. A sender that it doesn't accept is the operator's mistake, not this mail's.
  if (code === 'EENVELOPE' && command === 'RCPT TO' && permanent) return { outcome: 'refused', ...reason }
  return { outcome: code === 'EENVELOPE' || code === 'EMESSAGE' ? 'failed' : 'unreachable', ...reason }
}
