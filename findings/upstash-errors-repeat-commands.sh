#!/usr/bin/env bash
# @upstash/redis puts the whole command, with its arguments, into the message of the error that a refused command ends with.
#
# Versions:  @upstash/redis 1.39.0, Node.js 20 and later
# Expected:  the message is the server's words. What the application stored stays out of it, whichever way the command was sent.
# Seen:      of a command alone the message ends with the command as JSON, values included; of one in a pipeline it has the name only.
#            A service that logs errors, as most do, logs what it stores: sessions, addresses, hashes of tokens.
# Way round: log a word of one's own, or the message up to ", command was:".
#
# Exit: 0 while that is so, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y > /dev/null
npm install --no-audit --no-fund --save-exact @upstash/redis@1.39.0 > /dev/null
cat > try.mjs <<'JS'
import { createServer } from 'node:http'
import { Redis } from '@upstash/redis'

/** A server that refuses every command, as a database does for a token that may only read. */
const refusal = { error: 'NOPERM this user has no permissions to run this command' }
const server = createServer((request, response) => {
  request.resume().on('end', () => {
    const inPipeline = request.url === '/pipeline'
    response.writeHead(inPipeline ? 200 : 400, { 'content-type': 'application/json' }).end(JSON.stringify(inPipeline ? [refusal] : refusal))
  })
})
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
const redis = new Redis({
  url: `http://127.0.0.1:${server.address().port}`, token: 'a', retry: { retries: 0 }, enableTelemetry: false, enableAutoPipelining: false
})
const value = 'what-the-application-stores'
const messageOf = promise => promise.then(() => '', error => error.message)
const seen = {
  'a command alone repeats its value': (await messageOf(redis.set('key', value))).includes(value),
  'a command of a pipeline repeats its value': (await messageOf(redis.pipeline().set('key', value).exec())).includes(value)
}
server.close()
console.log(JSON.stringify(seen, null, 2))
const expected = { 'a command alone repeats its value': true, 'a command of a pipeline repeats its value': false }
const isSame = JSON.stringify(seen) === JSON.stringify(expected)
console.log(isSame ? 'as recorded' : `changed; recorded was ${JSON.stringify(expected)}`)
process.exit(isSame ? 0 : 1)
JS
timeout 60 node try.mjs
