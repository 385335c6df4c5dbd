import type { AuthError, PersonalToken } from 'latchkey-client'
import { useState } from 'preact/hooks'
import { Button } from '../../shared/button.js'
import { Confirm } from '../../shared/confirm.js'
import { Field, Select } from '../../shared/field.js'
import { Form, Submit, type Values } from '../../shared/form.js'
import { formatMoment, t } from '../../shared/i18n.js'
import { focusHeading, Heading } from '../../shared/layout.js'
import { partOf, useList } from '../../shared/list.js'
import { More } from '../../shared/more.js'
import { client } from '../../shared/session.js'
import { Waiting } from '../../shared/waiting.js'
import { NewToken } from './new-token.js'

const daySeconds = 86_400

/** Personal tokens: make one, which is shown once, and end one. */
export function Tokens () {
  const { items, problem, more, reload } = useList(async cursor => partOf('tokens', await client.tokens.list({ cursor })))
  const [made, setMade] = useState<string | null>(null)
  const [ending, setEnding] = useState<PersonalToken | null>(null)
  const [notice, setNotice] = useState('')

  async function create ({ name = '', abilities = '', days = '' }: Values): Promise<AuthError | null> {
    setNotice('')
    const wanted = abilities.split(/[\s,]+/).filter(ability => ability !== '')
    const { data, error } = await client.tokens.create({
      name: name.trim(),
      ...wanted.length === 0 ? {} : { abilities: [...new Set(wanted)] },
      ...days === '' ? {} : { expiresIn: Number(days) * daySeconds }
    })
    if (error !== null) return error
    setMade(data.accessToken)
    void reload()
    return null
  }

  async function end ({ id, name }: PersonalToken): Promise<AuthError | null> {
    const { error } = await client.tokens.end(id)
    if (error !== null && error.code !== 'AUTH_NOT_FOUND') return error
    await reload()
    setNotice(t('tokens.ended', { name }))
    setTimeout(focusHeading)
    return null
  }

  return (
    <>
      <Heading>{t('tokens.title')}</Heading>
      <p>{t('tokens.text')}</p>
      {made !== null && <NewToken plain={made} onClose={() => setMade(null)} />}
      <Form label={t('tokens.makeTitle')} onSubmit={create} clears>
        <h2>{t('tokens.makeTitle')}</h2>
        <Field name='name' label={t('tokens.name')} autocomplete='off' maxLength={200} hint={t('tokens.nameHint')} />
        <Field
          name='abilities'
          label={t('tokens.abilities')}
          type='code'
          autocomplete='off'
          required={false}
          hint={t('tokens.abilitiesHint')}
        />
        <Select
          name='days'
          label={t('tokens.expiry')}
          options={[['30', t('tokens.days', { days: 30 })], ['90', t('tokens.days', { days: 90 })], ['365', t('tokens.year')], ['', t('tokens.never')]]}
        />
        <Submit>{t('tokens.make')}</Submit>
      </Form>
      <section>
        <h2>{t('tokens.listTitle')}</h2>
        <p role='status' class='notice'>{notice}</p>
        {items === null ? <Waiting problem={problem} /> : items.length === 0 ? <p>{t('tokens.none')}</p> : (
          <ul class='list'>
            {items.map(token => <Token key={token.id} token={token} onEnd={() => setEnding(token)} />)}
          </ul>
        )}
        <More more={more} />
      </section>
      {ending !== null && (
        <Confirm
          title={t('tokens.endTitle', { name: ending.name })}
          action={t('tokens.end')}
          onConfirm={() => end(ending)}
          onClose={() => setEnding(null)}
        >
          <p>{t('tokens.endText')}</p>
        </Confirm>
      )}
    </>
  )
}

function Token ({ token: { name, abilities, createdAt, expiresAt, lastUsedAt }, onEnd }: { token: PersonalToken, onEnd (): void }) {
  return (
    <li>
      <div>
        <p class='name'><bdi>{name}</bdi></p>
        <p class='facts'>
          {t('tokens.may', { abilities: abilities.includes('*') ? t('tokens.everything') : abilities.join(', ') })}<br />
          {t('tokens.created', { moment: formatMoment(createdAt) })}<br />
          {expiresAt === null ? t('tokens.neverExpires') : t('tokens.expires', { moment: formatMoment(expiresAt) })}<br />
          {lastUsedAt === null ? t('tokens.neverUsed') : t('devices.lastUsed', { moment: formatMoment(lastUsedAt) })}
        </p>
      </div>
      <Button label={t('tokens.endLabel', { name })} onClick={onEnd}>{t('tokens.end')}</Button>
    </li>
  )
}
