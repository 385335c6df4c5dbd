import type { AuthError } from 'latchkey-client'
import { useState } from 'preact/hooks'
import { Button } from '../shared/button.js'
import { Command } from '../shared/command.js'
import { Confirm } from '../shared/confirm.js'
import { formatMoment, t } from '../shared/i18n.js'
import { focusHeading, Heading } from '../shared/layout.js'
import { useList } from '../shared/list.js'
import { More } from '../shared/more.js'
import { Table } from '../shared/table.js'
import { Stale, Waiting } from '../shared/waiting.js'
import { ask, askServices, liveMs, type Service } from './wire.js'

/** The services that may check tokens, and the end of one. Only a command makes them. */
export function Services () {
  const { items, problem, more, reload } = useList(askServices, liveMs)
  const [ending, setEnding] = useState<Service | null>(null)
  const [notice, setNotice] = useState('')

  async function end ({ id, name }: Service): Promise<AuthError | null> {
    setNotice('')
    const { error } = await ask('DELETE', `services/${id}`)
    // Somebody else was faster: it is what was wanted.
    if (error !== null && error.code !== 'AUTH_NOT_FOUND') return error
    await reload()
    setNotice(t('services.ended', { name }))
    setTimeout(focusHeading)
    return null
  }

  return (
    <>
      <Heading>{t('services.title')}</Heading>
      <p>{t('services.text')}</p>
      <Command text={t('services.make')} line='npx latchkey services:create --name NAME' />
      <p role='status' class='notice'>{notice}</p>
      {items === null ? <Waiting problem={problem} /> : <Stale problem={problem} />}
      {items?.length === 0 && <p>{t('services.none')}</p>}
      {items !== null && items.length > 0 && (
        <Table
          label={t('services.title')}
          columns={[
            { title: t('services.name'), cell: ({ name }) => <bdi>{name}</bdi> },
            { title: t('services.created'), cell: ({ createdAt }) => formatMoment(createdAt) },
            {
              title: t('services.lastUsed'),
              cell: ({ lastUsedAt }) => lastUsedAt === null ? t('services.never') : formatMoment(lastUsedAt)
            },
            {
              title: t('services.action'),
              cell: service => (
                <Button kind='danger' label={t('services.endLabel', { name: service.name })} onClick={() => setEnding(service)}>
                  {t('services.end')}
                </Button>
              )
            }
          ]}
          rows={items}
          keyOf={({ id }) => id}
        />
      )}
      <More more={more} />
      {ending !== null && (
        <Confirm
          title={t('services.endTitle', { name: ending.name })}
          action={t('services.endLabel', { name: ending.name })}
          onConfirm={() => end(ending)}
          onClose={() => setEnding(null)}
        >
          <p>{t('services.endText')}</p>
        </Confirm>
      )}
    </>
  )
}
