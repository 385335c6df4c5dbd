import { useState } from 'preact/hooks'
import { formatHour, formatNumber, t } from '../../shared/i18n.js'
import { Table } from '../../shared/table.js'
import type { Hour } from '../wire.js'
import { Chart } from './chart.js'

const count = (number: number | null): string => number === null ? t('overview.uncounted') : formatNumber(number)

/** Sign-ins and failures by the hour: as a picture, and as a table for whoever can't see that. */
export function Hours ({ hours }: { hours: Hour[] }) {
  const [pointed, setPointed] = useState<number | null>(null)
  const hour = pointed === null ? undefined : hours[pointed]
  const values = hour === undefined
    ? null
    : { hour: formatHour(hour.startsAt), signIns: count(hour.signIns), failures: count(hour.failures) }
  return (
    <>
      <ul class='legend'>
        <li class='succeeded'>{t('overview.succeeded')}</li>
        <li class='failed'>{t('overview.failed')}</li>
      </ul>
      <Chart hours={hours} label={t('overview.chart')} onPoint={setPointed} />
      <p class='hint pointed'>{values === null ? t('overview.point') : t('overview.pointed', values)}</p>
      <details>
        <summary>{t('overview.table')}</summary>
        <Table
          label={t('overview.signIns')}
          columns={[
            { title: t('overview.hour'), cell: ({ startsAt }) => formatHour(startsAt) },
            { title: t('overview.succeeded'), cell: ({ signIns }) => count(signIns) },
            { title: t('overview.failed'), cell: ({ failures }) => count(failures) },
            { title: t('overview.registered'), cell: ({ registrations }) => count(registrations) }
          ]}
          rows={[...hours].reverse()}
          keyOf={({ startsAt }) => startsAt}
        />
      </details>
    </>
  )
}
