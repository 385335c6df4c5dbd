import type { ComponentChildren } from 'preact'
import { base } from './settings.js'
import { createStore, useStore } from './store.js'

/** The path below the place that Latchkey is mounted at, such as `/account/devices`, without a slash at its end. */
const readPath = (): string => location.pathname.slice(base.length - 1).replace(/\/+$/, '')

/** Anew for each move, so that the same path with another query counts as one. */
const place = createStore({ path: readPath(), query: location.search })

const update = (): void => place.set({ path: readPath(), query: location.search })

addEventListener('popstate', update)

/** The path of the page that is shown; the component is rendered again when it changes. */
export const usePath = (): string => useStore(place).path

/** The query of the page that is shown; the component is rendered again when it changes. */
export const useQuery = (): URLSearchParams => new URLSearchParams(useStore(place).query)

/** The address in the browser of a path such as `/account/devices`, which may have a query. */
export const hrefOf = (to: string): string => `${base.slice(0, -1)}${to}`

/** Shows the page at `to`, such as `/account/devices`. */
export function navigate (to: string, { replace = false }: { replace?: boolean } = {}): void {
  history[replace ? 'replaceState' : 'pushState'](null, '', hrefOf(to))
  scrollTo(0, 0)
  update()
}

/** A link to another page, which is shown without loading. */
export function Link ({ to, children, ...more }: { to: string, children: ComponentChildren, class?: string, current?: boolean }) {
  const { current = false, ...attributes } = more
  return (
    <a
      {...attributes}
      href={hrefOf(to)}
      {...current ? { 'aria-current': 'page' as const } : {}}
      onClick={event => {
        if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
        event.preventDefault()
        navigate(to)
      }}
    >
      {children}
    </a>
  )
}
