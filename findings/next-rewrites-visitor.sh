#!/usr/bin/env bash
# A Next.js rewrite to another server tells that server which host was asked for, but not who asked.
#
# Versions:  next 16.4.6, react 19.3.1, Node.js 20 and later
# Expected:  as of other reverse proxies, X-Forwarded-For with the visitor's address beside X-Forwarded-Host.
# Seen:      X-Forwarded-Host alone. To an API behind it all visitors have the address of the Next.js server: they share one limit
#            of sign-in attempts, and lists of sessions show that address for every device.
# Way round: lead the browser's requests to the API by a proxy that adds the header, or count by account as well.
#
# Exit: 0 while that is so, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
server=''
trap 'if [ -n "$server" ]; then kill "$server" 2> /dev/null || true; wait "$server" 2> /dev/null || true; fi; rm -rf "$folder"' EXIT
cd "$folder"
export NEXT_TELEMETRY_DISABLED=1 API_PORT=0
cat > package.json <<'JSON'
{ "type": "module", "private": true }
JSON
npm install --no-audit --no-fund --save-exact next@16.4.6 react@19.3.1 react-dom@19.3.1 > /dev/null
mkdir app
echo 'export default ({ children }) => <html lang="en"><body>{children}</body></html>' > app/layout.jsx
echo 'export default () => <p>Hello</p>' > app/page.jsx
API_PORT=$(node -e "const s = require('node:net').createServer().listen(0, '127.0.0.1', () => { console.log(s.address().port); s.close() })")
PORT=$(node -e "const s = require('node:net').createServer().listen(0, '127.0.0.1', () => { console.log(s.address().port); s.close() })")
cat > next.config.js <<'JS'
export default {
  rewrites: async () => [{ source: '/auth/:path*', destination: `http://127.0.0.1:${process.env.API_PORT}/:path*` }]
}
JS
timeout 80 npx next build > build.log 2>&1 || { cat build.log; exit 1; }
node node_modules/next/dist/bin/next start --port "$PORT" --hostname 127.0.0.1 > start.log 2>&1 &
server=$!
cat > try.mjs <<'JS'
import { createServer } from 'node:http'
const { API_PORT, PORT } = process.env
let headers = {}
const api = createServer((request, response) => {
  headers = request.headers
  response.end('hello')
})
await new Promise(resolve => api.listen(Number(API_PORT), '127.0.0.1', resolve))
for (let tries = 0; ; tries++) {
  const reply = await fetch(`http://127.0.0.1:${PORT}/auth/me`).catch(() => null)
  if (reply !== null && await reply.text() === 'hello') break
  if (tries === 100) throw new Error('Next.js does not answer')
  await new Promise(resolve => setTimeout(resolve, 100))
}
api.close()
const seen = { 'X-Forwarded-Host': 'x-forwarded-host' in headers, 'X-Forwarded-For': 'x-forwarded-for' in headers, Forwarded: 'forwarded' in headers }
console.log(JSON.stringify(seen, null, 2))
const expected = { 'X-Forwarded-Host': true, 'X-Forwarded-For': false, Forwarded: false }
const isSame = JSON.stringify(seen) === JSON.stringify(expected)
console.log(isSame ? 'as recorded' : `changed; recorded was ${JSON.stringify(expected)}`)
process.exit(isSame ? 0 : 1)
JS
PORT=$PORT timeout 30 node try.mjs
