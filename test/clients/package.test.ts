import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import t from 'tap'
import ts from 'typescript'
import { root } from '../fixtures/programs.js'

const folder = join(root, 'clients/js')
const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))

t.test('latchkey-client has no dependencies except React, where its hook is used, and needs no Node.js module', async t => {
  t.equal(manifest.dependencies, undefined)
  t.strictSame(manifest.peerDependenciesMeta, { react: { optional: true } })
  t.equal(manifest.type, 'module')
  for (const entry of ['.', './react']) t.equal(Object.keys(manifest.exports[entry])[0], 'types', `${entry}: types first`)
  const imports = readdirSync(join(folder, 'src')).flatMap(name => {
    const source = ts.createSourceFile(name, readFileSync(join(folder, 'src', name), 'utf8'), ts.ScriptTarget.ESNext)
    return source.statements.flatMap(statement =>
      (ts.isImportDeclaration(statement) || ts.isExportDeclaration(statement)) && statement.moduleSpecifier !== undefined
        ? [[name, (statement.moduleSpecifier as ts.StringLiteral).text]]
        : [])
  })
  t.ok(imports.length > 10)
  t.strictSame(imports.filter(([, to]) => !to?.startsWith('./')), [['react.ts', 'react']])
})

t.test('createClient is less than 6 KB, minified and compressed', async t => {
  const { outputFiles } = await build({
    stdin: { contents: "export { createClient } from './src/index.ts'", resolveDir: folder },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    target: 'es2022'
  })
  const bytes = gzipSync(outputFiles[0]?.contents ?? '', { level: 9 }).length
  t.comment(`${bytes} bytes`)
  t.ok(bytes > 3_000 && bytes < 6_000, `${bytes} bytes`)
})
