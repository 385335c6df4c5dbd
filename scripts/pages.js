import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, gzipSync } from 'node:zlib'

/** Bundles `pages/` into files below `dist/pages`, whose names contain a hash of their content, and lists them in a manifest. */

const root = fileURLToPath(new URL('..', import.meta.url))
const assets = join(root, 'dist/pages/assets')
const manifestFile = join(root, 'dist/pages/manifest.json')
/** What the files are made of; the lockfile stands for the packages. */
const sources = ['pages', 'clients/js/src', 'scripts/pages.js', 'package-lock.json']

const options = {
  absWorkingDir: root,
  entryPoints: {
    account: 'pages/account/index.tsx',
    admin: 'pages/admin/index.tsx',
    style: 'pages/shared/style.css',
    icon: 'pages/shared/icon.svg'
  },
  outdir: assets,
  entryNames: '[name].[hash]',
  chunkNames: '[name].[hash]',
  loader: { '.svg': 'copy' },
  bundle: true,
  splitting: true,
  format: 'esm',
  target: 'es2022',
  minify: true,
  charset: 'utf8',
  metafile: true,
  write: false,
  logLevel: 'warning'
}

/** Builds the pages, unless nothing has changed since. */
export async function buildPages () {
  if (!isStale()) return
  const { build } = await import('esbuild')
  writeResult(await build(options))
}

/** Builds the pages now, and again after each change, until the process ends. */
export async function watchPages () {
  const { context } = await import('esbuild')
  const write = { name: 'write', setup: build => build.onEnd(result => { if (result.errors.length === 0) writeResult(result, true) }) }
  const watched = await context({ ...options, plugins: [write] })
  await watched.rebuild()
  await watched.watch()
}

function isStale () {
  try {
    const builtAt = statSync(manifestFile).mtimeMs
    return sources.some(source => lastChange(join(root, source)) > builtAt)
  } catch {
    return true
  }
}

/** When the file, or the youngest in the folder, was written; a file that has gone changes its folder. */
function lastChange (path) {
  const stat = statSync(path)
  return Math.max(stat.mtimeMs, ...stat.isDirectory() ? readdirSync(path).map(name => lastChange(join(path, name))) : [])
}

/**
 * First the files, then the manifest that names them, then away with what it no longer names. `onlyChanged`: a manifest that says the same
 * stays as it is, since a server in development restarts when it is written.
 */
function writeResult ({ outputFiles, metafile }, onlyChanged = false) {
  mkdirSync(assets, { recursive: true })
  for (const { path, contents } of outputFiles) {
    put(path, contents)
    put(`${path}.br`, brotliCompressSync(contents))
    put(`${path}.gz`, gzipSync(contents, { level: 9 }))
  }
  const manifest = JSON.stringify(manifestOf(metafile.outputs), null, 2)
  if (!onlyChanged || !existsSync(manifestFile) || readFileSync(manifestFile, 'utf8') !== manifest) put(manifestFile, manifest)
  const kept = new Set(outputFiles.flatMap(({ path }) => [path, `${path}.br`, `${path}.gz`]).map(path => basename(path)))
  for (const name of readdirSync(assets)) if (!kept.has(name)) rmSync(join(assets, name), { force: true })
}

/** A server that starts meanwhile reads the old file or the new one. */
function put (path, contents) {
  const own = `${path}.${process.pid}`
  writeFileSync(own, contents)
  renameSync(own, path)
}

/** The manifest as src/pages/manifest.ts describes it. */
function manifestOf (outputs) {
  // The styles that a script imports have its entry point, too.
  const filesOf = entry => Object.keys(outputs).filter(path => outputs[path].entryPoint === entry)
  const fileOf = entry => filesOf(entry).find(path => !path.endsWith('.css')) ?? filesOf(entry)[0]
  const { account, admin, style, icon } = options.entryPoints
  const texts = readdirSync(join(root, 'pages/texts')).map(file => {
    const { 'language.direction': direction, 'page.noScript': noScript } = JSON.parse(readFileSync(join(root, 'pages/texts', file), 'utf8'))
    return [basename(file, '.json'), { file: basename(fileOf(`pages/texts/${file}`)), direction, noScript }]
  })
  const page = entry => ({
    script: basename(fileOf(entry)),
    modules: [...modulesOf(fileOf(entry))].map(path => basename(path)),
    styles: [outputs[fileOf(entry)].cssBundle ?? []].flat().map(path => basename(path))
  })

  /** What it imports at once, and what those import. */
  function modulesOf (path, found = new Set()) {
    for (const { path: imported, kind } of outputs[path].imports) {
      if (kind !== 'import-statement' || found.has(imported)) continue
      found.add(imported)
      modulesOf(imported, found)
    }
    return found
  }

  return {
    pages: { account: page(account), admin: page(admin) },
    style: basename(fileOf(style)),
    icon: basename(fileOf(icon) ?? Object.keys(outputs).find(path => /\/icon\.\w+\.svg$/.test(path))),
    // English comes first: it stands in for a language that is not there.
    texts: Object.fromEntries(texts.sort(([one], [other]) => Number(other === 'en') - Number(one === 'en')))
  }
}
