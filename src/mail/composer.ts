import type { Audit } from '../audit/service.js'
import type { Transactions, Tx } from '../database/transaction.js'
import type { Clock } from '../shared/clock.js'
import type { UserService } from '../users/service.js'
import { defaultLanguage, type MailLanguage } from './language.js'
import type { OutgoingMail } from './mailer.js'
import { type MailKind, mailTokenUses } from './messages.js'
import type { Mail, OutboxStore } from './outbox-store.js'
import type { MailStore } from './store.js'
import { type EventDetails, type MailApp, renderMail } from './template.js'
import { type MailToken, mintMailToken } from './token.js'

/** Turns a row of the outbox into a mail at the moment of sending. Null: there is nobody to write to, or nothing to say any more. */
export type ComposeMail = (mail: Mail) => Promise<OutgoingMail | null>

export interface ComposerDependencies {
  store: Pick<OutboxStore, 'hold'> & Pick<MailStore, 'findRecipient' | 'insertToken' | 'lockRegistration'>
  users: Pick<UserService, 'find' | 'findAccount' | 'lock'>
  audit: Pick<Audit, 'find'>
  transactions: Transactions
  app: MailApp
  clock: Clock
}

/** `language`: null where nobody has said. */
interface Content { kind: MailKind, token: MailToken | null, language: MailLanguage | null }

export function createComposer ({ store, users, audit, transactions, app, clock }: ComposerDependencies): ComposeMail {
  async function compose (mail: Mail): Promise<OutgoingMail | null> {
    const content = mail.registrationId === null ? await contentFor(mail) : await registrationContent(mail, mail.registrationId)
    if (content === null) return null
    const { kind, token } = content
    const said = { token: token?.reveal() ?? null, event: await eventDetails(mail) }
    return { ...renderMail(kind, content.language ?? defaultLanguage, app, said), id: mail.id, kind, to: mail.email }
  }

  async function contentFor (mail: Mail): Promise<Content | null> {
    // These tell of an account that nobody can use any more.
    const { kind, language } = mail
    if (kind === 'account_disabled' || kind === 'account_deleted') return { kind, token: null, language }
    const seen = mail.userId === null ? await users.findAccount(mail.email) : await users.find(mail.userId)
    const owner = mail.kind === 'confirm_email_change' ? await users.findAccount(mail.email) : null
    if (seen === null) return null
    return await transactions.transaction(async tx => {
      // The account is locked before the mail, as in the transactions that cancel both.
      const account = await users.lock(tx, seen.user.id)
      if (account === null || account.disabled || !await store.hold(tx, mail.id)) return null
      const { id, email, emailVerifiedAt } = account.user
      if (mail.kind === 'reset_password' && email !== mail.email) return null
      if (mail.kind === 'verify_email' && (email !== mail.email || emailVerifiedAt !== null)) return null
      if (owner !== null) return owner.disabled ? null : await tellOwner(tx, owner.user.id)
      return { kind, token: await mint(tx, mail, { userId: id }), language: language ?? await languageOf(tx, id) }
    })
  }

  async function registrationContent (mail: Mail, registrationId: string): Promise<Content | null> {
    const taken = await users.findAccount(mail.email)
    return await transactions.transaction(async tx => {
      const registration = await store.lockRegistration(tx, registrationId)
      if (registration === null || registration.expiresAt.getTime() <= clock.now() || !await store.hold(tx, mail.id)) return null
      if (taken !== null) return taken.disabled ? null : await tellOwner(tx, taken.user.id)
      return { kind: mail.kind, token: await mint(tx, mail, { registrationId }), language: mail.language }
    })
  }

  const languageOf = async (tx: Tx, userId: string) => (await store.findRecipient(tx, userId))?.language ?? null

  /** Somebody else may have asked for it, in a language of theirs. */
  async function tellOwner (tx: Tx, userId: string): Promise<Content> {
    return { kind: 'account_exists', token: null, language: await languageOf(tx, userId) }
  }

  async function mint (tx: Tx, mail: Mail, owner: { userId: string } | { registrationId: string }): Promise<MailToken | null> {
    const token = mailTokenUses[mail.kind]
    if (token === null) return null
    const plain = mintMailToken(token.purpose)
    const now = clock.now()
    // When it was asked for, by this clock: the outbox keeps the database's.
    const createdAt = new Date(now - mail.ageSeconds * 1000)
    const expiresAt = new Date(now + token.seconds * 1000)
    const row = { hash: plain.hash(), kind: token.kind, email: mail.email, userId: null, registrationId: null, createdAt, expiresAt }
    await store.insertToken(tx, { ...row, ...owner })
    return plain
  }

  async function eventDetails ({ eventId }: Mail): Promise<EventDetails | null> {
    const event = eventId === null ? null : await audit.find(eventId)
    return event === null ? null : { at: event.createdAt, address: event.ip, userAgent: event.userAgent }
  }

  return compose
}
