import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { watchPages } from './pages.js'

/** Builds the pages after each change to them, and restarts the server after each build and each change to src/. */

await watchPages()
// Ctrl-C reaches every process of a terminal, and npm passes it on once more; the watcher takes a second one as an order to kill the server
// in the middle of its work. So it has a process group of its own, and gets one.
const server = spawn(
  process.execPath,
  ['node_modules/tsx/dist/cli.mjs', 'watch', '--clear-screen=false', '--include', 'dist/pages/manifest.json', 'src/server.ts'],
  { cwd: fileURLToPath(new URL('..', import.meta.url)), stdio: ['ignore', 'inherit', 'inherit'], detached: true }
)
server.on('exit', code => process.exit(code ?? 1))
let ending = false
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (!ending) server.kill(signal === 'SIGHUP' ? 'SIGTERM' : signal)
    ending = true
  })
}
