/** What became of attempts to send a mail. */
export type MailCounters = Record<'sent' | 'postponed' | 'refused' | 'abandoned' | 'dropped', number>

export const createMailCounters = (): MailCounters => ({ sent: 0, postponed: 0, refused: 0, abandoned: 0, dropped: 0 })
