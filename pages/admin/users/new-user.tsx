import type { AuthError, User } from 'latchkey-client'
import { Field, NewPasswordField, Select } from '../../shared/field.js'
import { Form, Submit, type Values } from '../../shared/form.js'
import { t } from '../../shared/i18n.js'
import { Heading } from '../../shared/layout.js'
import { Link, navigate } from '../../shared/router.js'
import { ask } from '../wire.js'

/** Makes an account for somebody else. */
export function NewUser () {
  async function make ({ email = '', name = '', password = '', role = 'user' }: Values): Promise<AuthError | null> {
    const { data, error } = await ask<{ user: User }>('POST', 'users', {
      email: email.trim(),
      role,
      ...name.trim() === '' ? {} : { name: name.trim() },
      ...password === '' ? {} : { password }
    })
    if (error !== null) return error
    navigate(`/admin/users/${data.user.id}`, { replace: true })
    return null
  }

  return (
    <>
      <Heading>{t('newUser.title')}</Heading>
      <Form onSubmit={make}>
        <Field name='email' label={t('field.emailLabel')} type='email' autocomplete='off' />
        <Field name='name' label={t('register.name')} autocomplete='off' required={false} maxLength={200} />
        <NewPasswordField name='password' label={t('newUser.password')} required={false} hint={t('newUser.passwordHint')} />
        <Select name='role' label={t('user.role')} options={[['user', t('role.user')], ['admin', t('role.admin')]]} />
        <Submit>{t('newUser.submit')}</Submit>
      </Form>
      <ul class='links'><li><Link to='/admin/users'>{t('users.back')}</Link></li></ul>
    </>
  )
}
