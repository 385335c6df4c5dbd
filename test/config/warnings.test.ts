import t from 'tap'
import { loadConfig } from '../../src/config/config.js'
import { configWarnings } from '../../src/config/warnings.js'

const warningsOf = (env: Record<string, string>) => configWarnings(loadConfig(env))
const production = { NODE_ENV: 'production', APP_URL: 'https://app.example.com/auth' }

t.test('working settings give no warning', async t => {
  for (const env of [
    {},
    { CORS_ORIGINS: 'http://localhost:5173' },
    { PUBLIC_URL: 'https://api.example.com' },
    {
      PUBLIC_URL: 'https://api.example.com',
      CORS_ORIGINS: 'https://app.example.com,https://example.com,https://www.example.com:8443',
      ...production
    },
    { PUBLIC_URL: 'https://auth.example.co.uk/base/', CORS_ORIGINS: 'https://example.co.uk', ...production },
    { PUBLIC_URL: 'https://192.0.2.1:8443', CORS_ORIGINS: 'https://192.0.2.1', MAIL_FROM: 'auth@example.com', ...production },
    { PUBLIC_URL: 'http://localhost:3000', CORS_ORIGINS: 'http://localhost:5173' },
    { PUBLIC_URL: 'http://localhost:3000', CORS_ORIGINS: 'http://localhost:5173', COOKIE_SECURE: 'false' },
    { PUBLIC_URL: 'http://[::1]:3000', CORS_ORIGINS: 'http://[::1]:5173' },
    { PUBLIC_URL: 'http://api.dev.test', CORS_ORIGINS: 'http://app.dev.test', COOKIE_SECURE: 'false' }
  ] as Array<Record<string, string>>) t.strictSame(warningsOf(env), [], JSON.stringify(env))
})

t.test('Secure cookies over http give a warning, except on loopback', async t => {
  for (const url of ['http://api.example.com', 'http://192.168.0.7:3000', 'http://localhost.example.com', 'http://127.example.com']) {
    t.match(warningsOf({ PUBLIC_URL: url }), [/COOKIE_SECURE=true and PUBLIC_URL is http/], url)
  }
  t.match(warningsOf({ CORS_ORIGINS: 'http://app.example.com' }), [/http:\/\/app\.example\.com and COOKIE_SECURE=true/])
})

t.test('cookies without Secure give a warning in production and where https is served', async t => {
  t.match(warningsOf({ COOKIE_SECURE: 'false', PUBLIC_URL: 'http://api.example.com', ...production }), [/COOKIE_SECURE=false/])
  t.match(warningsOf({ COOKIE_SECURE: 'false', PUBLIC_URL: 'https://api.example.com' }), [/COOKIE_SECURE=false/])
})

t.test('an Upstash reached over http gives a warning, except on loopback', async t => {
  const hints = (url: string) => warningsOf({ UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: 'x' })
  t.match(hints('http://srh:8079'), [/^UPSTASH_REDIS_REST_URL is http/])
  for (const url of ['https://name.upstash.io', 'http://localhost:8079']) t.strictSame(hints(url), [])
})

t.test('an origin on another site is named, because its pages get no cookies', async t => {
  for (const [url, origin] of [
    ['https://api.example.com', 'https://app.example.net'],
    ['https://api.example.com', 'http://app.example.com'],
    ['https://api.example.co.uk', 'https://app.other.co.uk'],
    ['https://ours.github.io', 'https://theirs.github.io'],
    ['https://192.0.2.1', 'https://192.0.2.2'],
    ['http://localhost:3000', 'http://127.0.0.1:5173']
  ] as const) {
    const warnings = warningsOf({ PUBLIC_URL: url, CORS_ORIGINS: `${url},${origin}` })
    t.equal(warnings.length, 1, `${url} ${origin}`)
    t.match(warnings[0], `CORS_ORIGINS has ${origin}, another site than PUBLIC_URL`)
  }
})

t.test('production names each variable without which mails and cookies are of little use', async t => {
  const whole = { ...production, PUBLIC_URL: 'https://api.example.com', MAIL_FROM: 'auth@example.com' }
  const without = (...names: string[]) => warningsOf(Object.fromEntries(Object.entries(whole).filter(([name]) => !names.includes(name))))
  t.strictSame(without(), [])
  t.strictSame(without('MAIL_FROM'), [], 'mails come from latchkey@api.example.com')
  t.match(without('PUBLIC_URL'), [/^PUBLIC_URL is not set: .*without CORS_ORIGINS too, cookies work only on pages of this origin/])
  t.strictSame(without('APP_URL'), [], 'links lead to the pages')
  t.match(warningsOf({ ...whole, APP_URL: '', PAGES: 'false' }), [/^APP_URL is not set: .*a token and how to POST it/])
  t.match(without('PUBLIC_URL', 'APP_URL', 'MAIL_FROM'), [
    /^PUBLIC_URL is not set/,
    /^APP_URL is not set/,
    /^MAIL_FROM is not set: mails come from latchkey@localhost/
  ])
  t.match(warningsOf({ ...whole, MAIL_FROM: '', PUBLIC_URL: 'https://192.0.2.1' }), [/latchkey@localhost/], 'an address is no host name')
  const withOrigin = { NODE_ENV: 'production', CORS_ORIGINS: 'https://app.example.com' }
  t.match(warningsOf(withOrigin), [/^PUBLIC_URL is not set(?!.*CORS_ORIGINS)/, /^APP_URL/, /^MAIL_FROM/])
  t.strictSame(warningsOf({ CORS_ORIGINS: 'https://app.example.com' }), [], 'in development mails are files')
})

t.test('anything but an exact origin is refused', async t => {
  for (const origin of [
    '*',
    'https://*.example.com',
    'https://app.example.com/',
    'https://app.example.com/path',
    'https://app.example.com?',
    'https://app.example.com:443',
    'https://APP.example.com',
    'app.example.com',
    '//app.example.com',
    'null',
    'file://',
    'https://user@app.example.com',
    'capacitor://localhost/',
    'capacitor:localhost'
  ]) {
    t.throws(
      () => loadConfig({ CORS_ORIGINS: `https://good.example.com,${origin}` }),
      { name: 'ConfigError', message: /CORS_ORIGINS must list origins/ },
      origin
    )
  }
})
