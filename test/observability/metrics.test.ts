import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { serveMetrics } from '../../src/observability/metrics.js'
import { newEmail, onEachGround, password, serverGround, startApp } from '../fixtures/app.js'

/** METRICS_PORT as the app sees it: the test decides who listens on it. */
const env = { METRICS_PORT: '9464' }

interface Sample { name: string, labels: Record<string, string>, value: number }

function parse (text: string): Sample[] {
  return text.split('\n').filter(line => line !== '' && !line.startsWith('#')).map(line => {
    const [, name = '', labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [line, line]
    return {
      name,
      labels: Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, of]) => [key, of])),
      value: Number(value)
    }
  })
}

/** The value of the one sample with that name and these labels; undefined if there is none. */
function figure (samples: Sample[], name: string, labels: Record<string, string> = {}): number | undefined {
  return samples.find(sample => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value))?.value
}

onEachGround(t, async (t, ground) => {
  const one = await startApp(t, ground, { env })
  const read = async () => parse(await one.metrics.metrics())

  t.test('requests are counted by method, declared route and status, and never by URL', async t => {
    const { token, sessionId } = await one.account()
    for (let i = 0; i < 3; i++) await one.me(token)
    await one.call('GET', '/v1/me')
    await one.call('DELETE', '/v1/sessions/no-session-of-mine', { token })
    await one.call('GET', '/v1/no-such-route/with-a-secret')
    await one.call('POST', '/nowhere')
    await one.call('DELETE', `/v1/sessions/${sessionId}`, { token })

    const text = await one.metrics.metrics()
    const samples = parse(text)
    const requests = (labels: Record<string, string>) => figure(samples, 'latchkey_http_requests_total', labels)
    t.equal(requests({ method: 'GET', route: '/v1/me', status: '200' }), 3)
    t.equal(requests({ method: 'GET', route: '/v1/me', status: '401' }), 1)
    t.equal(requests({ method: 'POST', route: '/v1/register', status: '201' }), 1)
    t.equal(requests({ method: 'DELETE', route: '/v1/sessions/:id', status: '404' }), 1)
    t.equal(requests({ method: 'DELETE', route: '/v1/sessions/:id', status: '204' }), 1)
    t.equal(requests({ route: 'unmatched', status: '404' }), 2)
    t.equal(samples.filter(({ labels }) => labels.route === 'unmatched' && labels.status !== undefined).length, 1, 'under one label')
    for (const url of ['no-such-route', 'nowhere', 'no-session-of-mine', sessionId]) t.notMatch(text, url)
  })

  t.test('durations are a histogram by method and route', async t => {
    const samples = await read()
    const me = { method: 'GET', route: '/v1/me' }
    const buckets = samples.filter(({ name, labels }) =>
      name === 'latchkey_http_request_duration_seconds_bucket' && labels.route === me.route)
    t.equal(figure(samples, 'latchkey_http_request_duration_seconds_count', me), 4)
    t.equal(buckets.at(-1)?.labels.le, '+Inf')
    t.equal(buckets.at(-1)?.value, 4)
    t.same(buckets.map(({ value }) => value), buckets.map(({ value }) => value).sort((a, b) => a - b), 'each includes those below')
    t.ok(figure(samples, 'latchkey_http_request_duration_seconds_sum', me) as number > 0)
    t.ok(figure(samples, 'latchkey_http_request_duration_seconds_sum', me) as number < 10, 'in seconds')
    t.same(Object.keys(buckets[0]?.labels ?? {}).sort(), ['le', 'method', 'route'])
  })

  t.test('the outcomes of refresh tokens are counted', async t => {
    const before = await read()
    const { refreshToken } = (await one.register(newEmail(), { refresh: true })).json<{ refreshToken: string }>()
    const refresh = (token: string) => one.call('POST', '/v1/refresh', { body: { refreshToken: token } })
    t.equal((await refresh(refreshToken)).statusCode, 200)
    t.equal((await refresh(refreshToken)).statusCode, 200)
    one.clock.advance(31_000)
    t.equal((await refresh(refreshToken)).json().code, 'AUTH_TOKEN_REUSED')
    t.equal((await refresh('lkr_made-up')).statusCode, 401)
    const after = await read()
    for (const outcome of ['succeeded', 'repeated', 'reused', 'refused']) {
      t.equal(
        figure(after, 'latchkey_refreshes_total', { outcome }),
        (figure(before, 'latchkey_refreshes_total', { outcome }) as number) + 1,
        outcome
      )
    }
  })

  t.test('the durations of settlements are measured', async t => {
    const samples = await read()
    const settled = figure(samples, 'latchkey_settlements_total') as number
    t.ok(settled > 0)
    t.equal(figure(samples, 'latchkey_settlement_duration_seconds_count'), settled)
  })

  t.test('password hashes are counted with their durations, and refused ones are counted too', async t => {
    const busy = await startApp(t, ground, { env: { ...env, BCRYPT_COST: '9' } })
    // Its periodic writes, every few seconds, could be refused too.
    await busy.lastUse.stop()
    const before = parse(await busy.metrics.metrics())
    const replies = await Promise.all(Array.from({ length: 600 }, () => busy.login(newEmail())))
    const refused = replies.filter(({ statusCode }) => statusCode === 503).length
    const after = parse(await busy.metrics.metrics())
    const grown = (name: string) => (figure(after, name) ?? 0) - (figure(before, name) ?? 0)
    t.ok(grown('latchkey_password_refusals_total') > 0, 'more than the number that may wait')
    t.equal(grown('latchkey_password_refusals_total') + grown('latchkey_database_refusals_total'), refused)
    t.equal(grown('latchkey_password_duration_seconds_count'), replies.length - refused)
    t.equal(figure(after, 'latchkey_password_queue'), 0)
  })

  t.test('a prune records its time, its duration and what it deleted', async t => {
    t.equal(figure(await read(), 'latchkey_prune_last_done_timestamp_seconds'), 0, 'not yet')
    await one.account()
    one.clock.advance(60 * 86_400_000)
    await one.prune({ dryRun: true })
    t.equal(figure(await read(), 'latchkey_prune_runs_total', { outcome: 'done' }), 0, 'counting is not a prune')
    const { tokens } = await one.prune({ dryRun: false })
    const samples = await read()
    t.equal(figure(samples, 'latchkey_prune_runs_total', { outcome: 'done' }), 1)
    t.equal(figure(samples, 'latchkey_prune_rows_total', { rows: 'tokens' }), tokens)
    t.ok(tokens > 0)
    t.ok(Math.abs(figure(samples, 'latchkey_prune_last_done_timestamp_seconds') as number - one.clock.now() / 1000) < 60)
    t.ok(figure(samples, 'latchkey_prune_last_duration_seconds') as number > 0)
  })

  t.test('waiting mails are counted, with the age of the oldest', async t => {
    const before = figure(await read(), 'latchkey_mail_waiting') as number
    await one.account()
    const samples = await read()
    t.equal(figure(samples, 'latchkey_mail_waiting'), before + 1)
    t.type(figure(samples, 'latchkey_mail_oldest_seconds'), 'number')
  })

  t.test('the metrics name no user, address or token', async t => {
    const { email, token, userId, sessionId } = await one.account()
    await one.me(token)
    await one.login(email)
    await one.call('GET', `/v1/me?token=${token}`)
    const text = await one.metrics.metrics()
    for (const secret of [
      email,
      token,
      token.slice(0, 12),
      userId,
      sessionId,
      password,
      '127.0.0.1'
    ]) t.notOk(text.includes(secret), 'absent')
  })

  t.test('without METRICS_PORT no request is counted', async t => {
    const other = await startApp(t, ground)
    await other.call('GET', '/health/live')
    t.notMatch(await other.metrics.metrics(), 'latchkey_http_')
  })
})

t.test('on PostgreSQL', async t => {
  const ground = await serverGround(t)
  if (ground === null) return
  const one = await startApp(t, ground, { env })
  const scrape = await serve(t, one)

  t.test('the pool shows what is in progress and what must wait', async t => {
    const sleeping = Promise.all(Array.from({ length: 13 }, () => one.database.prepared('select pg_sleep(1)', [])))
    const samples = parse(await one.metrics.metrics())
    t.equal(figure(samples, 'latchkey_database_connections'), 10)
    t.ok(figure(samples, 'latchkey_database_under_way') as number >= 13)
    t.ok(figure(samples, 'latchkey_database_waiting') as number >= 3)
    await sleeping
    t.equal(figure(parse(await one.metrics.metrics()), 'latchkey_database_waiting'), 0)
  })

  t.test('GET /metrics on its own port has all of them, and the process metrics as well', async t => {
    await one.trusted()
    const samples = parse(await scrape())
    t.equal(figure(samples, 'latchkey_database_up'), 1)
    t.equal(figure(samples, 'latchkey_cache_trusted'), 1)
    t.ok(figure(samples, 'process_resident_memory_bytes') as number > 0)
  })

  t.test('docs/METRICS.md lists every metric with its type and labels, and no others', async t => {
    const { token } = await one.account()
    await one.me(token)
    const text = await one.metrics.metrics()
    const samples = parse(text)
    const printed = [...text.matchAll(/^# TYPE (latchkey_\w+) (\w+)$/gm)].map(([, name = '', type]) => {
      const labels = samples.filter(sample => sample.name.startsWith(name)).flatMap(sample => Object.keys(sample.labels))
        .filter(label => label !== 'le')
      return [name, type, [...new Set(labels)].sort().join(' ')]
    })
    const documented = read('docs/METRICS.md').split('\n').flatMap(line => {
      const [, name, type, labels = ''] = /^\| `(latchkey_\w+)` \| (\w+) \| ([^|]*) ?\| /.exec(line) ?? []
      return name === undefined ? [] : [[name, type, [...labels.matchAll(/\w+/g)].map(String).sort().join(' ')]]
    })
    t.same(documented.sort(), printed.sort())
  })

  t.test('the alert rules and the dashboard name only metrics that exist, and the dashboard shows all of them', async t => {
    const text = await scrape()
    const samples = parse(text)
    // A histogram or counter that has counted nothing yet has only its TYPE line.
    const printed = new Set(['up', ...samples.map(({ name }) => name)])
    for (const [, name = '', type] of text.matchAll(/^# TYPE (\w+) (\w+)$/gm)) for (const part of type === 'histogram'
      ? ['_bucket', '_sum', '_count']
      : ['']) printed.add(`${name}${part}`)

    const alerts = read('docs/alerts.yaml')
    const rules = [...alerts.matchAll(/^ +expr: (?:\|\n((?: {10,}.*\n)+)|(.*)\n)/gm)].map(([, block, line]) => block ?? line ?? '')
    t.equal(rules.length, [...alerts.matchAll(/- alert: /g)].length, 'every rule was read')
    const dashboard = JSON.parse(read('docs/grafana-dashboard.json')) as {
      panels: Array<{ title: string, targets?: Array<{ expr: string }> }>
      templating: { list: Array<{ name: string, type: string, definition?: string }> }
    }
    const shown = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
    const asked = dashboard.templating.list.flatMap(({ definition }) => definition === undefined ? [] : [definition.replace(/, \w+/, '')])
    t.ok(dashboard.templating.list.some(({ type }) => type === 'datasource'))
    for (const expr of [...rules, ...shown, ...asked]) {
      const names = metricsIn(expr)
      t.ok(names.length > 0, expr.trim())
      t.same(names.filter(name => !printed.has(name)), [], expr.trim())
    }

    for (const [, name = '', matchers = ''] of [...rules, ...shown].join('\n').matchAll(/(\w+)\{([^}]*)\}/g)) {
      for (const [, label = '', values = ''] of matchers.matchAll(/(outcome|rows|reason)=~?"([^"]*)"/g)) {
        for (const value of values.split('|')) t.ok(
          samples.some(sample => sample.name === name && sample.labels[label] === value),
          `${name} has ${label} ${value}`
        )
      }
    }

    const seen = new Set(shown.flatMap(metricsIn))
    t.same(
      [...text.matchAll(/^# TYPE (latchkey_\w+) (\w+)$/gm)].filter(([, name, type]) =>
        !seen.has(type === 'histogram' ? `${name}_bucket` : name as string)).map(([
        ,
        name
      ]) =>
        name),
      []
    )
  })
})

function read (path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
}

/** The metrics named in a PromQL expression. */
function metricsIn (expr: string): string[] {
  const bare = expr.replace(/"[^"]*"/g, '').replace(/\{[^}]*\}|\[[^\]]*\]|\b(by|on|without) \([^)]*\)/g, ' ')
  return [...bare.matchAll(/\b[a-z_]\w*\b(?! *\()/g)].map(String).filter(word => !/^(and|or|unless)$/.test(word))
}

/** Serves metrics on a port; returns a function that reads them. */
async function serve (t: Test, { metrics }: { metrics: Parameters<typeof serveMetrics>[0] }): Promise<() => Promise<string>> {
  const server = await serveMetrics(metrics, '127.0.0.1', 0)
  t.teardown(async () => { server.close(); await once(server, 'close') })
  return async () => {
    const ask = (method: 'GET' | 'HEAD') =>
      fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`, { method, headers: { connection: 'close' } })
    const head = await ask('HEAD')
    t.equal(head.status, 200)
    t.equal(await head.text(), '')
    const reply = await ask('GET')
    t.equal(reply.status, 200)
    t.equal(reply.headers.get('content-type'), head.headers.get('content-type'))
    t.match(reply.headers.get('content-type'), 'text/plain')
    return await reply.text()
  }
}
