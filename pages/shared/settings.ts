/** What the server's configuration says about the pages. */
const { appName = 'Latchkey', appLogo, registration, passwordMinLength, secondFactor, returnOrigins = '' } = document.documentElement.dataset

export const settings = {
  appName,
  /** The address of an image, if there is one. */
  appLogo,
  registration: registration as 'open' | 'closed' | 'confirm',
  passwordMinLength: Number(passwordMinLength),
  /** Who must have a second factor. */
  secondFactor: secondFactor as 'optional' | 'admins' | 'everyone',
  /** Origins that a sign-in may return to. */
  returnOrigins: [location.origin, ...returnOrigins.split(' ').filter(origin => origin !== '')]
}

/** The path that Latchkey is mounted at, with a slash at its end: the script is at `pages/assets` below it. */
export const base = new URL('../../', import.meta.url).pathname
