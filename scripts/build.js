import { spawn } from 'node:child_process'
import { buildPages } from './pages.js'

/** Compiles what has changed. Says so on stderr where it takes long, as on the first start: until then nothing else is printed. */

const quietMs = 1_000

const timer = setTimeout(() => process.stderr.write('Building…\n'), quietMs)
const startedAt = performance.now()
const compiler = spawn(process.execPath, ['node_modules/typescript/bin/tsc', '-b', 'tsconfig.build.json'], { stdio: 'inherit' })
const pages = buildPages().then(() => 0, error => {
  process.stderr.write(`The pages could not be built: ${error.message}\n`)
  return 1
})
compiler.on('exit', async code => {
  const worst = Math.max(code ?? 1, await pages)
  clearTimeout(timer)
  const seconds = (performance.now() - startedAt) / 1000
  if (worst === 0 && seconds * 1000 > quietMs) process.stderr.write(`Built in ${seconds.toFixed(1)} s.\n`)
  process.exitCode = worst
})
