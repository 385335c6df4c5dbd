import { createHash } from 'node:crypto'
import type { Config } from '../config/config.js'
import { findLanguage } from '../shared/language.js'
import { findManifest } from './manifest.js'
import { type PageSettings, renderShell } from './shell.js'
import { themeOf } from './theme.js'

type Settings = Pick<Config, 'appName' | 'appLogo' | 'appColor' | 'registration' | 'passwordMinLength' | 'secondFactor'>

/** The pages for people, without HTTP. */
export interface Pages {
  /** The folder of the built files, whose names contain a hash of what is in them. */
  assets: string
  /** The stylesheet of APP_COLOR, and its name among the files. */
  theme: { name: string, css: string }
  /** Of every page. */
  contentSecurityPolicy: string
  /** The html of a page at the path `path`, in the language that `acceptLanguage` asks for. */
  render (page: 'account' | 'admin', path: string, acceptLanguage: string | undefined): string
}

/** Null where the pages have not been built. `returnOrigins`: those that a sign-in may return to, besides the page's own. */
export function createPages (config: Settings, returnOrigins: string[]): Pages | null {
  const built = findManifest()
  if (built === null) return null
  const { manifest, assets } = built
  const { appName, appLogo, registration, passwordMinLength, secondFactor } = config
  const settings: PageSettings = { appName, appLogo, registration, passwordMinLength, secondFactor, returnOrigins }
  const css = themeOf(config.appColor)
  const theme = { css, name: `theme.${createHash('sha256').update(css).digest('hex').slice(0, 8)}.css` }
  const languages = Object.keys(manifest.texts)
  const [first = 'en'] = languages

  return {
    assets,
    theme,
    contentSecurityPolicy: policyFor(appLogo),

    render (page, path, acceptLanguage) {
      const language = findLanguage(languages, acceptLanguage) ?? first
      const texts = manifest.texts[language] as typeof manifest.texts[string]
      const depth = path.split('/').length - 2
      const root = depth === 0 ? './' : '../'.repeat(depth)
      const { style, icon } = manifest
      return renderShell({ page: manifest.pages[page], style, theme: theme.name, icon, language, texts }, settings, root)
    }
  }
}

/** Everything comes from this origin, but for a logo that is elsewhere. No script or style can stand in a page. */
function policyFor (logo: string | undefined): string {
  const logoOrigin = logo?.startsWith('https:') === true ? ` ${new URL(logo).origin}` : ''
  return [
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", `img-src 'self' data:${logoOrigin}`,
    "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"
  ].join('; ')
}
