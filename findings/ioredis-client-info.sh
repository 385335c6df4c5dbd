#!/usr/bin/env bash
# ioredis has an option that keeps CLIENT SETINFO from being sent, for servers whose ACL does not grant it; those that it opens to Sentinels don't get it.
#
# Versions:  ioredis 6.0.0
# Expected:  with `disableClientInfo: true` no connection sends CLIENT SETINFO.
# Seen:      the connections to the server don't, in a cluster either; those to Sentinels do, the one that asks for the master and those that listen for
#            failovers. A Sentinel whose ACL does not grant client|setinfo records a refusal in ACL LOG for each of them. Nothing else fails.
# Way round: grant +client|setinfo to the user of the Sentinels, which have no data.
#
# Exit: 0 while that is so, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y > /dev/null
npm install --no-audit --no-fund --save-exact ioredis@6.0.0 > /dev/null
cat > try.mjs <<'JS'
import { createServer } from 'node:net'
import { Cluster, Redis } from 'ioredis'

/** A server that answers just enough of the protocol, and keeps the commands of each connection. */
async function serve (answer) {
  const connections = []
  const server = createServer(socket => {
    const commands = []
    connections.push(commands)
    socket.on('error', () => {})
    socket.on('data', data => {
      const words = data.toString().split('\r\n').filter(line => !/^[*$]\d+$/.test(line))
      const starts = [...data.toString().matchAll(/^\*(\d+)\r$/gm)].map(match => Number(match[1]))
      for (const length of starts) {
        const command = words.splice(0, length).map(word => word.toLowerCase())
        commands.push(command)
        socket.write(answer(command))
      }
    })
  })
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  const sent = () => connections.map(commands => commands.some(([name, verb]) => name === 'client' && verb === 'setinfo'))
  return { port, sent, connections }
}

const bulk = text => `$${text.length}\r\n${text}\r\n`
const subscribed = channel => `*3\r\n${bulk('subscribe')}${bulk(channel)}:1\r\n`
const redis = await serve(([name, verb]) => {
  if (name === 'hello') return '-ERR unknown command\r\n'
  if (name === 'info') return bulk('redis_version:7.0.15')
  if (name === 'cluster' && verb === 'slots') return `*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n${bulk('127.0.0.1')}:${redis.port}\r\n`
  return name === 'subscribe' ? subscribed(verb) : '+OK\r\n'
})
const sentinel = await serve(([name, verb]) => {
  if (name === 'hello') return '-ERR unknown command\r\n'
  if (name === 'sentinel') return `*2\r\n${bulk('127.0.0.1')}${bulk(String(redis.port))}`
  return name === 'subscribe' ? subscribed(verb) : '+OK\r\n'
})
const until = async isTrue => { for (let i = 0; i < 200 && !isTrue(); i++) await new Promise(resolve => setTimeout(resolve, 50)) }
const own = { disableClientInfo: true, enableReadyCheck: false, protocol: 2 }

const single = new Redis({ host: '127.0.0.1', port: redis.port, ...own })
await single.get('a')
const watched = new Redis({ sentinels: [{ host: '127.0.0.1', port: sentinel.port }], name: 'mymaster', updateSentinels: false, failoverDetector: true, ...own })
await watched.get('a')
await until(() => sentinel.connections.length >= 2 && sentinel.connections.every(commands => commands.length >= 2))
const toServer = redis.sent()
const before = redis.connections.length
const cluster = new Cluster([{ host: '127.0.0.1', port: redis.port }], { redisOptions: own, enableReadyCheck: false, dnsLookup: (host, done) => done(null, host) })
await cluster.get('a')
await cluster.get('b')
const seen = {
  'connections to a server that send it': toServer.filter(Boolean).length,
  'connections to a Sentinel that send it': sentinel.sent().filter(Boolean).length,
  'connections of a cluster that send it': redis.sent().slice(before).filter(Boolean).length
}
const expected = { 'connections to a server that send it': 0, 'connections to a Sentinel that send it': 2, 'connections of a cluster that send it': 0 }
console.log(JSON.stringify(seen, null, 2))
const isSame = JSON.stringify(seen) === JSON.stringify(expected)
console.log(isSame ? 'as recorded' : `changed; recorded was ${JSON.stringify(expected)}`)
process.exit(isSame ? 0 : 1)
JS
timeout 60 node try.mjs
