import { useEffect, useState } from 'preact/hooks'
import { Button } from '../../shared/button.js'
import { formatMoment, formatNumber, formatTime, t } from '../../shared/i18n.js'
import { Heading } from '../../shared/layout.js'
import { useLoad } from '../../shared/load.js'
import { Stale, Waiting } from '../../shared/waiting.js'
import { ask, type Figures, type Hour, liveMs } from '../wire.js'
import { Cache, Settlements, Tokens } from './figures.js'
import { Hours } from './hours.js'

const ranges = [[24, 'overview.day'], [168, 'overview.week']] as const

/** How the service is doing, as it changes. */
export function Overview () {
  const [hours, setHours] = useState<number>(24)
  const { data, problem, reload } = useLoad(() => ask<Figures>('GET', `overview?hours=${hours}`), liveMs)
  useEffect(() => { if (data !== null && data.hours.length !== hours) void reload() }, [hours])
  return (
    <>
      <Heading>{t('overview.title')}</Heading>
      {data === null ? <Waiting problem={problem} /> : (
        <>
          <p class='hint live'>{t('overview.live', { time: formatTime(data.at) })}</p>
          <Stale problem={problem} />
          <section aria-label={t('overview.now')}>
            <dl class='tiles'>
              <Tile
                title={t('users.title')}
                value={count(data.users?.total)}
                more={t('overview.disabled', { number: count(data.users?.disabled) })}
              />
              <Tile title={t('overview.admins')} value={count(data.users?.admins)} />
              <Tile
                title={t('overview.sessions')}
                value={count(data.sessions?.active)}
                more={t('overview.neverUsed', { number: count(data.sessions?.neverUsed) })}
              />
            </dl>
          </section>
          <section>
            <div class='title'>
              <h2>{t('overview.signIns')}</h2>
              <fieldset class='choice'>
                <legend class='unseen'>{t('overview.range')}</legend>
                {ranges.map(([range, title]) => (
                  <Button key={range} pressed={range === hours} onClick={() => setHours(range)}>{t(title)}</Button>
                ))}
              </fieldset>
            </div>
            <dl class='tiles'>
              <Tile title={t('overview.succeeded')} value={count(sum(data.hours, 'signIns'))} />
              <Tile title={t('overview.failed')} value={count(sum(data.hours, 'failures'))} />
              <Tile title={t('overview.registered')} value={count(sum(data.hours, 'registrations'))} />
            </dl>
            <Hours hours={data.hours} />
          </section>
          <Tokens tokens={data.tokens} />
          <Cache cache={data.cache} />
          <Settlements settlements={data.settlements} />
          <p class='hint'>{t('overview.instance', { moment: formatMoment(data.instance.startedAt) })}</p>
        </>
      )}
    </>
  )
}

function Tile ({ title, value, more }: { title: string, value: string, more?: string }) {
  return (
    <div>
      <dt>{title}</dt>
      <dd><span class='number'>{value}</span>{more !== undefined && <span class='hint'>{more}</span>}</dd>
    </div>
  )
}

/** A number, or that there is none. */
const count = (number: number | null | undefined): string => number === null || number === undefined ? t('overview.uncounted') : formatNumber(number)

/** Null where no hour was counted. */
function sum (hours: Hour[], name: 'signIns' | 'failures' | 'registrations'): number | null {
  const counted = hours.flatMap(hour => hour[name] ?? [])
  return counted.length === 0 ? null : counted.reduce((total, number) => total + number, 0)
}
