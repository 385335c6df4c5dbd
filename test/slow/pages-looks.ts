import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Test } from 'tap'
import { root } from '../fixtures/programs.js'
import type { Tab } from './pages-scene.js'

/** What holds for every page, whatever it is about. With TEST_SCREENSHOTS, a folder, pictures are left there. */

const pictures = process.env.TEST_SCREENSHOTS

/** Read when it is needed: only the dependencies of the slow tests have it. */
let axe: string | null = null

/** What axe-core finds on the page as it is now, by all of its rules or by one: the rule, and where. */
async function findings (tab: Tab, rule?: string): Promise<string[]> {
  axe ??= readFileSync(createRequire(join(root, 'test/slow/package.json')).resolve('axe-core/axe.min.js'), 'utf8')
  await tab.evaluate(`globalThis.axe === undefined && (0, eval)(${JSON.stringify(axe)})`)
  return await tab.evaluate(`axe.run(document, { resultTypes: ['violations'], ${rule === undefined ? '' : `runOnly: ['${rule}']`} }).then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => id + ' ' + target + ' ' + failureSummary)))`)
}

/** Checks the page in light, in dark and at 320 px; `name` is that of its pictures. */
export async function checkLooks (t: Test, tab: Tab, name: string): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await tab.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    // In the dark nothing but colours is another.
    t.strictSame(await findings(tab, colorScheme === 'dark' ? 'color-contrast' : undefined), [], `${name}, ${colorScheme}`)
    if (pictures !== undefined) await tab.screenshot({ path: join(pictures, `${name}-${colorScheme}.png`), fullPage: true })
  }
  await tab.setViewportSize({ width: 320, height: 640 })
  t.equal(await tab.evaluate('document.documentElement.scrollWidth'), 320, `${name}: 320 px are enough`)
  if (pictures !== undefined) await tab.screenshot({ path: join(pictures, `${name}-narrow.png`), fullPage: true })
  await tab.setViewportSize({ width: 1000, height: 720 })
}

/** Presses a key, such as Tab, until the element with that name has the focus. Fails where the focus isn't seen on the way. */
export async function reach (t: Test, tab: Tab, name: string, key = 'Tab'): Promise<void> {
  for (let i = 0; i < 90; i++) {
    await tab.keyboard.press(key)
    const [label, outline] = await tab.evaluate<[string, string]>(`(() => {
      const { activeElement: it } = document
      const label = it.labels?.[0]?.textContent ?? it.getAttribute('aria-label') ?? it.textContent
      return [it === document.body ? '' : label.trim(), getComputedStyle(it).outlineStyle]
    })()`)
    if (label !== '' && outline === 'none') t.fail(`the focus on ${label} is not seen`)
    if (label === name) return
  }
  throw new Error(`the keyboard doesn't reach ${name}`)
}

/** The texts of a language, by their names; the name itself where there is none. */
export function readTexts (tag: string): (key: string) => string {
  const texts = JSON.parse(readFileSync(join(root, `pages/texts/${tag}.json`), 'utf8')) as Record<string, string>
  return key => texts[key] ?? key
}

/** Counts layout shifts (https://wicg.github.io/layout-instability/) from the next page on; gives those so far on the page that is open. */
export async function watchShifts (tab: Tab): Promise<() => Promise<number[]>> {
  await tab.addInitScript(() => {
    const shifts: number[] = []
    Object.assign(globalThis, { shifts })
    const observer = new PerformanceObserver(list => shifts.push(...list.getEntries().map(entry => (entry as unknown as { value: number }).value)))
    observer.observe({ type: 'layout-shift' as 'mark', buffered: true })
  })
  return () => tab.evaluate<number[]>('shifts')
}

/** Counts what comes over the wire from now on, in bytes. */
export async function watchBytes (tab: Tab): Promise<() => number> {
  const devtools = await tab.context().newCDPSession(tab)
  await devtools.send('Network.enable')
  let bytes = 0
  devtools.on('Network.loadingFinished', ({ encodedDataLength }) => { bytes += encodedDataLength })
  return () => bytes
}
