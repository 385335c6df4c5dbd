import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import t from 'tap'
import ts from 'typescript'
import { root } from '../fixtures/programs.js'

const folder = join(root, 'clients/js')
const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))

t.test('latchkey-client has no dependencies except React, where its hook is used, and Upstash’s client, where hints are read; it needs no Node.js module', async t => {
  t.equal(manifest.dependencies, undefined)
  t.strictSame(manifest.peerDependenciesMeta, { '@upstash/redis': { optional: true }, react: { optional: true } })
  t.equal(manifest.type, 'module')
  for (const entry of ['.', './react', './edge', './next']) t.equal(Object.keys(manifest.exports[entry])[0], 'types', `${entry}: types first`)
  const imports = readdirSync(join(folder, 'src'), { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts')).flatMap(name => {
    const source = ts.createSourceFile(name, readFileSync(join(folder, 'src', name), 'utf8'), ts.ScriptTarget.ESNext)
    return source.statements.flatMap(statement =>
      (ts.isImportDeclaration(statement) || ts.isExportDeclaration(statement)) && statement.moduleSpecifier !== undefined
        ? [[name, (statement.moduleSpecifier as ts.StringLiteral).text]]
        : [])
  })
  t.ok(imports.length > 10)
  t.strictSame(imports.filter(([, to]) => !/^\.\.?\//.test(to ?? '')), [['react.ts', 'react']])
})

/**
 * Bytes of what a page loads at once for `source`, minified and compressed. What `import()` loads when it is first used is not among them: it
 * should import no value of the rest, but be given it, or bundlers cut a third piece out for both.
 */
async function sizeOf (source: string): Promise<number> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: source, resolveDir: folder },
    bundle: true,
    splitting: true,
    minify: true,
    write: false,
    metafile: true,
    absWorkingDir: root,
    outdir: 'out',
    format: 'esm',
    target: 'es2022',
    // Loaded where it is used.
    external: ['@upstash/redis', '@upstash/redis/*']
  })
  const loaded = new Set(['out/stdin.js'])
  for (const name of loaded) {
    for (const { path, kind } of metafile.outputs[name]?.imports ?? []) if (kind === 'import-statement') loaded.add(path)
  }
  const texts = outputFiles.filter(({ path }) => loaded.has(relative(root, path))).map(({ contents }) => gzipSync(contents, { level: 9 }).length)
  return texts.reduce((sum, length) => sum + length, 0)
}

t.test('what createClient loads at once is less than 6 KB, and the verifier of an edge less than 4 KB, minified and compressed', async t => {
  for (const [source, least, most] of [
    ["export { createClient } from './src/index.ts'", 3_000, 6_144],
    ["export { createEdgeVerifier } from './src/edge.ts'", 1_000, 4_000],
    ["export { createNextVerifier } from './src/next.ts'", 1_500, 4_600]
  ] as const) {
    const bytes = await sizeOf(source)
    t.comment(`${bytes} bytes: ${source}`)
    t.ok(bytes > least && bytes < most, `${bytes} bytes: ${source}`)
  }
})
