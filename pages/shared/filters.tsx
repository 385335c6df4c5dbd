import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { Form, Submit, type Values } from './form.js'
import { t } from './i18n.js'
import { navigate, useQuery } from './router.js'

interface FiltersProps {
  /** The accessible name. */
  label: string
  /** The path of the page. */
  to: string
  children: ComponentChildren
}

/** A form whose fields are what the query of the page says: a reload keeps them, and Back brings back the ones before. */
export function Filters ({ label, to, children }: FiltersProps) {
  const query = useQuery()
  const place = useRef<HTMLDivElement>(null)
  useEffect(() => {
    for (const field of place.current?.querySelectorAll<HTMLInputElement | HTMLSelectElement>('[name]') ?? []) {
      const value = query.get(field.name) ?? ''
      if (field.value !== value) field.value = value
    }
  }, [query.toString()])

  async function show (values: Values): Promise<null> {
    const set = Object.entries(values).map(([name, value]) => [name, value.trim()]).filter(([, value]) => value !== '')
    navigate(set.length === 0 ? to : `${to}?${new URLSearchParams(set)}`)
    return null
  }

  return (
    <div ref={place} class='filters'>
      <Form label={label} onSubmit={show}>
        {children}
        <Submit>{t('filters.submit')}</Submit>
      </Form>
    </div>
  )
}
