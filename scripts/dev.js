import { spawn } from 'node:child_process'
import { watchPages } from './pages.js'

/** Builds the pages after each change to them, and restarts the server after each build and each change to src/. */

await watchPages()
const server = spawn(
  process.execPath,
  ['node_modules/tsx/dist/cli.mjs', 'watch', '--clear-screen=false', '--include', 'dist/pages/manifest.json', 'src/server.ts'],
  { stdio: 'inherit' }
)
server.on('exit', code => process.exit(code ?? 1))
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => server.kill(signal))
