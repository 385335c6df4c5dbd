import { httpUrl } from './presented.js'

/** Longer ones come without the way back: they have to fit into the 8 KB that proxies keep for the headers of an answer. */
const maxLength = 4_096

export interface SignInOptions {
  /** PUBLIC_URL: its /account is where people sign in, unless `signIn` says otherwise. */
  publicUrl?: string | undefined
  /** The page where people sign in, which gets `return_to`: a URL, or a path of the application. */
  signIn?: string | undefined
  /** The application's own origin, as browsers see it. Unless given, the Host header says it. */
  appOrigin?: string | undefined
}

/** Addresses of the sign-in page, each with the way back; null where no page is known. Throws TypeError for bad options. */
export function createSignIn ({ publicUrl, signIn, appOrigin }: SignInOptions) {
  const own = appOrigin === undefined ? null : httpUrl('appOrigin', appOrigin).origin
  const isPath = signIn?.startsWith('/') === true && !signIn.startsWith('//')
  const page = signIn === undefined
    ? publicUrl === undefined ? null : `${httpUrl('publicUrl', publicUrl).href.replace(/\/+$/, '')}/account`
    : isPath ? signIn : httpUrl('signIn', signIn).href

  function withReturn (page: string, to: string): string {
    const address = `${page}${page.includes('?') ? '&' : '?'}return_to=${encodeURIComponent(to)}`
    return address.length > maxLength ? page : address
  }

  /** Next.js has its own host in `url`, behind a proxy too. Who makes these headers up misleads nobody else. */
  function locationOf ({ url, headers }: { url: string, headers: Headers }): URL {
    const asked = new URL(url)
    const said = (name: string) => headers.get(name)?.split(',')[0]?.trim()
    const host = said('x-forwarded-host') ?? said('host')
    const origin = own ?? (host === undefined ? asked.origin : `${said('x-forwarded-proto') ?? asked.protocol.slice(0, -1)}://${host}`)
    try {
      return new URL(`${new URL(origin).origin}${asked.pathname}${asked.search}`)
    } catch {
      return asked
    }
  }

  return {
    /** With the way back to a URL, or to a path of the application. */
    url (from: string | null): string | null {
      if (page === null || from === null) return page
      return withReturn(page, from.startsWith('/') && own !== null ? `${own}${from}` : from)
    },

    /** With the way back to what was asked for; always a whole URL. */
    forRequest (request: { url: string, headers: Headers }): string | null {
      if (page === null) return null
      const here = locationOf(request)
      return withReturn(isPath ? `${here.origin}${page}` : page, here.href)
    }
  }
}
