import type { Action } from './action.js'
import { Button } from './button.js'
import { Failure } from './form.js'
import { t } from './i18n.js'

/** The button at the end of a list that has more. */
export function More ({ more }: { more: Action | null }) {
  if (more === null) return null
  return (
    <>
      <Button busy={more.busy} onClick={more.run}>{t('page.more')}</Button>
      <Failure error={more.error} />
    </>
  )
}
