import type { ComponentChildren } from 'preact'
import { formatBytes, formatNumber, formatSeconds, formatShare, isKey, t } from '../../shared/i18n.js'
import { Table } from '../../shared/table.js'
import type { Figures } from '../wire.js'

/** Tokens by their kind and state. */
export function Tokens ({ tokens }: Pick<Figures, 'tokens'>) {
  const rows = Object.entries(tokens ?? {})
  return (
    <section>
      <h2>{t('overview.tokens')}</h2>
      {tokens === null ? <p>{t('overview.uncounted')}</p> : rows.length === 0 ? <p>{t('overview.noTokens')}</p> : (
        <Table
          label={t('overview.tokens')}
          columns={[
            { title: t('overview.kind'), cell: ([kind]) => named('kind', kind) },
            { title: t('overview.active'), cell: ([, { active }]) => formatNumber(active) },
            { title: t('overview.expired'), cell: ([, { expired }]) => formatNumber(expired) },
            { title: t('overview.revoked'), cell: ([, { revoked }]) => formatNumber(revoked) }
          ]}
          rows={rows}
          keyOf={([kind]) => kind}
        />
      )}
    </section>
  )
}

/** Whether the cache is believed, and how much it spares the database. */
export function Cache ({ cache }: Pick<Figures, 'cache'>) {
  const { state, trusted, hitRatio, lookUps, trustLosses, keys, memoryBytes } = cache
  return (
    <section>
      <h2>{t('overview.cache')}</h2>
      <dl class='figures'>
        <Line title={t('overview.trust')}>
          <span class={trusted ? 'badge' : 'badge bad'}>{trusted ? t('overview.trusted') : t('overview.untrusted')}</span>
          {!trusted && <> {named('trust', state)}</>}
        </Line>
        <Line title={t('overview.hitRatio')}>{hitRatio === null ? '–' : formatShare(hitRatio)}</Line>
        <Line title={t('overview.lookUps')}>{formatNumber(lookUps)}</Line>
        <Line title={t('overview.trustLosses')}>{formatNumber(trustLosses)}</Line>
        <Line title={t('overview.keys')}>{keys === null ? '–' : formatNumber(keys)}</Line>
        <Line title={t('overview.memory')}>{memoryBytes === null ? '–' : formatBytes(memoryBytes)}</Line>
      </dl>
    </section>
  )
}

/** How fast what is revoked is known to every cache. */
export function Settlements ({ settlements }: Pick<Figures, 'settlements'>) {
  const { pending, overdue, done, longestSeconds } = settlements
  return (
    <section>
      <h2>{t('overview.settlements')}</h2>
      <p class='hint'>{t('overview.settlementsText')}</p>
      <dl class='figures'>
        <Line title={t('overview.pending')}>{formatNumber(pending)}</Line>
        <Line title={t('overview.overdue')}>
          {overdue === 0 ? formatNumber(0) : <span class='badge bad'>{formatNumber(overdue)}</span>}
        </Line>
        <Line title={t('overview.done')}>{formatNumber(done)}</Line>
        <Line title={t('overview.longest')}>{formatSeconds(longestSeconds)}</Line>
      </dl>
    </section>
  )
}

function Line ({ title, children }: { title: string, children: ComponentChildren }) {
  return <div><dt>{title}</dt><dd>{children}</dd></div>
}

/** The words for a name of the wire; the name itself where this version has none. */
function named (group: 'kind' | 'trust', name: string): string {
  const key = `${group}.${name}`
  return isKey(key) ? t(key) : name
}
