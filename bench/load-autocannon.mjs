// The load of load.lua where there is no wrk: node load-autocannon.mjs FILE URL CONNECTIONS SECONDS [PAUSE]
import { readFileSync } from 'node:fs'
import autocannon from 'autocannon'

const [file, url, connections, seconds, pause] = process.argv.slice(2)
const requests = readFileSync(file, 'utf8').trimEnd().split('\n').map(line => {
  const colon = line.indexOf(': ')
  return { method: 'GET', path: new URL(url).pathname, headers: { [line.slice(0, colon)]: line.slice(colon + 2) } }
})
const { requests: done, duration, errors, timeouts, non2xx, latency } = await autocannon({ url, connections: Number(connections), duration: Number(seconds), requests, ...pause === undefined ? {} : { connectionRate: 1000 / Number(pause) } })
process.stdout.write(`${JSON.stringify({ requests: done.total, seconds: duration, broken: { connection: errors - timeouts, timeout: timeouts }, refused: non2xx, p50: latency.p50, p99: latency.p99, max: latency.max })}\n`)
