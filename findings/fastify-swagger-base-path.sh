#!/usr/bin/env bash
# @fastify/swagger takes the path of the first server off the paths of routes, as if the two were text.
#
# Versions:  @fastify/swagger 9.9.3, fastify 5.12.1, Node.js 20 and later
# Expected:  with the server https://example.com/api the route /api/login is described as /login; /apiary, which is not below /api, stays
#            as it is or is left out: a path of OpenAPI begins with a slash (OpenAPI 3.1, 4.8.8.1).
# Seen:      /apiary becomes "ary". Clients that are generated from the document call https://example.com/apiary/ary or fail to build.
# Way round: stripBasePath: false, and paths as they are with a server that has none.
#
# Exit: 0 while that is so, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y > /dev/null
npm install --no-audit --no-fund --save-exact fastify@5.12.1 @fastify/swagger@9.9.3 > /dev/null
cat > try.mjs <<'JS'
import swagger from '@fastify/swagger'
import fastify from 'fastify'

async function pathsOf (options) {
  const app = fastify()
  await app.register(swagger, { openapi: { openapi: '3.1.0', info: { title: 'one', version: '1' }, servers: [{ url: 'https://example.com/api' }] }, ...options })
  for (const path of ['/api/login', '/apiary']) app.get(path, async () => path)
  await app.ready()
  const paths = Object.keys(app.swagger().paths)
  await app.close()
  return paths
}
const seen = { 'as it comes': await pathsOf({}), 'stripBasePath: false': await pathsOf({ stripBasePath: false }) }
console.log(JSON.stringify(seen, null, 2))
const expected = { 'as it comes': ['/login', 'ary'], 'stripBasePath: false': ['/api/login', '/apiary'] }
const isSame = JSON.stringify(seen) === JSON.stringify(expected)
console.log(isSame ? 'as recorded' : `changed; recorded was ${JSON.stringify(expected)}`)
process.exit(isSame ? 0 : 1)
JS
timeout 60 node try.mjs
