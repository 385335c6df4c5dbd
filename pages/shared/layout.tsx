import { type ComponentChildren, render } from 'preact'
import { useEffect, useId, useRef } from 'preact/hooks'
import { chooseLanguage, type Language, languages, loadTexts, shown, t } from './i18n.js'
import { startSession } from './session.js'
import { settings } from './settings.js'
import { useStore } from './store.js'

/** Renders a page once its texts are there, and again in another language when that is chosen. */
export async function start (Page: () => ComponentChildren): Promise<void> {
  startSession()
  ignoreDoubleClicks()
  await loadTexts()
  function Root () {
    useStore(shown)
    return <Page />
  }
  render(<Root />, document.getElementById('page') as HTMLElement)
}

/** The second click of a double click is none: the button may do something else by then, or be another one. */
function ignoreDoubleClicks (): void {
  document.addEventListener('click', event => {
    if (event.detail < 2 || !(event.target as Element).closest('button, a')) return
    event.preventDefault()
    event.stopPropagation()
  }, { capture: true })
}

/** Name, language, what there is to go to, and the page itself. `narrow`: a single card. */
export function Layout ({ narrow = false, nav, children }: { narrow?: boolean, nav?: ComponentChildren, children: ComponentChildren }) {
  return (
    <>
      <a class='skip' href='#main'>{t('page.skip')}</a>
      <header>
        <span class='brand'>
          {settings.appLogo !== undefined && <img src={settings.appLogo} alt='' width='32' height='32' />}
          <bdi>{settings.appName}</bdi>
        </span>
        <LanguageChoice />
      </header>
      {nav}
      <p class='away'>{t('page.unreachable')}</p>
      <main id='main' tabIndex={-1} class={narrow ? 'narrow' : 'wide'}>{children}</main>
    </>
  )
}

/** Gives the focus to the heading of the page, after what had it is gone. */
export function focusHeading (): void {
  document.querySelector('h1')?.focus()
}

/** `seen`: with its label, which else is for screen readers alone. */
export function LanguageChoice ({ label = t('language.label'), seen = false }: { label?: string, seen?: boolean }) {
  const id = useId()
  return (
    <div class='language'>
      <label for={id} class={seen ? 'label' : 'unseen'}>{label}</label>
      <select id={id} value={shown.get().language} onChange={event => void chooseLanguage(event.currentTarget.value as Language)}>
        {Object.entries(languages).map(([language, name]) => <option key={language} value={language} lang={language}>{name}</option>)}
      </select>
    </div>
  )
}

let isFirst = true

/** The heading of a page, which is also its title. Each but the first gets the focus: it takes the place of another. */
export function Heading ({ children }: { children: string }) {
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    if (!isFirst) heading.current?.focus()
    isFirst = false
  }, [])
  useEffect(() => { document.title = `${children} · ${settings.appName}` }, [children])
  return <h1 ref={heading} tabIndex={-1}>{children}</h1>
}
