import { t } from './i18n.js'

/** The first that a user agent contains: most of them contain the names of others, too. */
const browsers: Array<[RegExp, string]> = [
  [/\bEdgA?\//, 'Edge'], [/\bOPR\//, 'Opera'], [/\bFirefox\//, 'Firefox'], [/\bFxiOS\//, 'Firefox'], [/\b((Headless)?Chrome|Chromium|CriOS)\//, 'Chrome'],
  [/\bSafari\//, 'Safari']
]
const systems: Array<[RegExp, string]> = [
  [/\bAndroid\b/, 'Android'], [/\b(iPhone|iPad|iPod)\b/, 'iOS'], [/\bCrOS\b/, 'ChromeOS'], [/\bWindows\b/, 'Windows'], [/\bMac OS X\b/, 'macOS'],
  [/\bLinux\b/, 'Linux']
]

/** What a person may recognise a device by: the name it was given, else browser and system, else the user agent as it is. */
export function nameOfDevice ({ deviceName = null, userAgent }: { deviceName?: string | null, userAgent: string | null }): string {
  if (deviceName !== null) return deviceName
  if (userAgent === null || userAgent === '') return t('device.unknown')
  const [browser, system] = [browsers, systems].map(known => known.find(([pattern]) => pattern.test(userAgent))?.[1])
  return browser === undefined || system === undefined ? userAgent : t('device.browser', { browser, system })
}
