import type { BuiltPage, BuiltTexts } from './manifest.js'

/** What the pages show, and what their scripts have to know of the configuration. */
export interface PageSettings {
  appName: string
  appLogo: string | undefined
  registration: 'open' | 'closed' | 'confirm'
  passwordMinLength: number
  /** Who must have a second factor. */
  secondFactor: 'optional' | 'admins' | 'everyone'
  /** Origins that a sign-in may return to, besides the page's own. */
  returnOrigins: string[]
}

/** One page in one language. The names are those of files below `/pages/assets`. */
export interface Shell { page: BuiltPage, style: string, theme: string, icon: string, language: string, texts: BuiltTexts }

/**
 * The html of a page: it loads the script and says what the script needs to know. `root` is the relative path from the page to the place
 * that Latchkey is mounted at, such as `./` or `../`.
 */
export function renderShell ({ page, style, theme, icon, language, texts }: Shell, settings: PageSettings, root: string): string {
  const { appName, appLogo, registration, passwordMinLength, secondFactor, returnOrigins } = settings
  const asset = (name: string) => escapeHtml(`${root}pages/assets/${name}`)
  const data = {
    'app-name': appName,
    ...appLogo === undefined ? {} : { 'app-logo': appLogo },
    registration,
    'password-min-length': String(passwordMinLength),
    'second-factor': secondFactor,
    'return-origins': returnOrigins.join(' ')
  }
  const attributes = Object.entries(data).map(([name, value]) => ` data-${name}="${escapeHtml(value)}"`).join('')
  const styles = [theme, style, ...page.styles].map(name => `<link rel="stylesheet" href="${asset(name)}">\n`).join('')
  const preloads = [...page.modules, texts.file].map(name => `<link rel="modulepreload" href="${asset(name)}">\n`).join('')
  return `<!doctype html>
<html lang="${language}" dir="${texts.direction}"${attributes}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(appName)}</title>
<link rel="icon" href="${asset(icon)}">
${styles}${preloads}</head>
<body>
<noscript><p class="no-script">${escapeHtml(texts.noScript)}</p></noscript>
<div id="page"></div>
<script type="module" src="${asset(page.script)}"></script>
</body>
</html>
`
}

function escapeHtml (text: string): string {
  return text.replace(/[&<>"']/g, character => `&#${character.codePointAt(0)};`)
}
