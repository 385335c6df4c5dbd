interface SignInSettings { appUrl?: string | undefined, publicUrl?: string | undefined, pages: boolean }

/** Longer ones come without the way back: they have to fit into the 8 KB that proxies keep for the headers of an answer. */
const maxLength = 4_096

/** The address of the page where people sign in, with the way back to `from` in `return_to`. */
export type SignIn = (from: URL | null) => string

/** Null where no page is known: without APP_URL, and without PUBLIC_URL or pages. `origins`: those to which a sign-in may return. */
export function createSignIn ({ appUrl, publicUrl, pages }: SignInSettings, origins: string[]): SignIn | null {
  const page = appUrl ?? (pages && publicUrl !== undefined ? `${publicUrl}/account` : null)
  if (page === null) return null
  const allowed = new Set(origins)
  return from => {
    if (from === null || !allowed.has(from.origin)) return page
    const address = new URL(page)
    address.searchParams.set('return_to', from.href)
    return address.href.length > maxLength ? page : address.href
  }
}
