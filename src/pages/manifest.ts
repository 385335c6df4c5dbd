import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** A page's script, the modules that it imports, and styles of its own. All names are those of files in the manifest's folder. */
export interface BuiltPage { script: string, modules: string[], styles: string[] }

/** What a page says before its script runs. */
export interface BuiltTexts { file: string, direction: 'ltr' | 'rtl', noScript: string }

/** What the build has made of `pages/`. */
export interface Manifest {
  pages: Record<'account' | 'admin', BuiltPage>
  style: string
  icon: string
  /** By language tag. */
  texts: Record<string, BuiltTexts>
}

/** `dist/pages`, seen from the compiled file and from its source. */
const folder = ['../../pages/', '../../dist/pages/'].map(path => fileURLToPath(new URL(path, import.meta.url)))

/** The built pages and the folder of their files; null where they have not been built. */
export function findManifest (): { manifest: Manifest, assets: string } | null {
  const built = folder.find(path => existsSync(`${path}manifest.json`))
  if (built === undefined) return null
  return { manifest: JSON.parse(readFileSync(`${built}manifest.json`, 'utf8')) as Manifest, assets: `${built}assets` }
}
