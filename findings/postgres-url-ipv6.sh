#!/usr/bin/env bash
# A PostgreSQL URL with an IPv6 address, postgres://user@[::1]:PORT/database, as libpq and RFC 3986 (section 3.2.2) write it, in two drivers for Node.js.
#
# Versions:  postgres 3.4.9, pg 8.23.0, pg-connection-string 2.14.0
# Expected:  the driver connects to the address ::1 and that port.
# Seen:      postgres divides the host at its colons and looks up the name "["; pg looks up the name "[::1]", brackets included. Both end with
#            ENOTFOUND, and nothing reaches the server. For an address without a port, postgres takes a part of the address for the port.
# Way round: give postgres host and port apart from the URL, without the brackets and each in an array: a plain string "::1" is divided too.
#
# Exit: 0 while that is so, 1 if it has changed, 2 without IPv6 on loopback.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y > /dev/null
npm install --no-audit --no-fund --save-exact postgres@3.4.9 pg@8.23.0 pg-connection-string@2.14.0 > /dev/null
cat > try.mjs <<'JS'
import { createServer } from 'node:net'
import pg from 'pg'
import postgres from 'postgres'

let arrived = 0
const server = createServer(socket => {
  arrived++
  socket.destroy()
})
try {
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '::1', resolve))
} catch {
  console.log('no IPv6 on loopback')
  process.exit(2)
}
const url = `postgres://user@[::1]:${server.address().port}/database`
const codeOf = work => work.then(() => 'connected', error => error.code ?? error.message)

const one = postgres(url, { connect_timeout: 5, max: 1, backoff: () => 0 })
const short = postgres('postgres://user@[2001:db8::1]/database')
const other = new pg.Client(url)
const seen = {
  'postgres, host and code': [one.options.host[0], await codeOf(one`select 1`)],
  'postgres, address without a port': [short.options.host[0], String(short.options.port[0])],
  'pg, host and code': [other.host, await codeOf(other.connect())],
  'connections at the server': arrived
}
const plain = postgres({ host: '::1', port: server.address().port })
const direct = postgres({ host: ['::1'], port: [server.address().port], username: 'user', connect_timeout: 5, max: 1 })
void codeOf(direct`select 1`)
for (let i = 0; i < 100 && arrived === 0; i++) await new Promise(resolve => setTimeout(resolve, 50))
seen['postgres, host as a string'] = plain.options.host[0]
seen['postgres, connected with both in arrays'] = arrived > 0
const expected = {
  'postgres, host and code': ['[', 'ENOTFOUND'],
  'postgres, address without a port': ['[2001', 'NaN'],
  'pg, host and code': ['[::1]', 'ENOTFOUND'],
  'connections at the server': 0,
  'postgres, host as a string': '',
  'postgres, connected with both in arrays': true
}
console.log(JSON.stringify(seen, null, 2))
const isSame = JSON.stringify(seen) === JSON.stringify(expected)
console.log(isSame ? 'as recorded' : `changed; recorded was ${JSON.stringify(expected)}`)
process.exit(isSame ? 0 : 1)
JS
timeout 60 node try.mjs
