import { useId } from 'preact/hooks'
import { Button } from '../../shared/button.js'
import { CopyField } from '../../shared/copy-field.js'
import { t } from '../../shared/i18n.js'

/** The plaintext of a token that was just made. It is nowhere else, and gone with this. */
export function NewToken ({ plain, onClose }: { plain: string, onClose (): void }) {
  const id = useId()
  return (
    <section class='remark' aria-labelledby={id}>
      <h2 id={id}>{t('tokens.madeTitle')}</h2>
      <p>{t('tokens.madeText')}</p>
      <CopyField label={t('tokens.plain')} value={plain} focused />
      <Button onClick={onClose}>{t('tokens.close')}</Button>
    </section>
  )
}
