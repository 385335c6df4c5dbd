import t from 'tap'
import { loadConfig } from '../../src/config/config.js'
import { configWarnings } from '../../src/config/warnings.js'

const warningsOf = (env: Record<string, string>) => configWarnings(loadConfig(env))

t.test('working settings give no warning', async t => {
  for (const env of [
    {},
    { CORS_ORIGINS: 'http://localhost:5173' },
    { PUBLIC_URL: 'https://api.example.com' },
    {
      PUBLIC_URL: 'https://api.example.com',
      CORS_ORIGINS: 'https://app.example.com,https://example.com,https://www.example.com:8443',
      NODE_ENV: 'production'
    },
    { PUBLIC_URL: 'https://auth.example.co.uk/base/', CORS_ORIGINS: 'https://example.co.uk', NODE_ENV: 'production' },
    { PUBLIC_URL: 'https://192.0.2.1:8443', CORS_ORIGINS: 'https://192.0.2.1', NODE_ENV: 'production' },
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
  t.match(warningsOf({ COOKIE_SECURE: 'false', NODE_ENV: 'production', PUBLIC_URL: 'http://api.example.com' }), [/COOKIE_SECURE=false/])
  t.match(warningsOf({ COOKIE_SECURE: 'false', PUBLIC_URL: 'https://api.example.com' }), [/COOKIE_SECURE=false/])
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

t.test('production without PUBLIC_URL and CORS_ORIGINS gives a warning', async t => {
  t.match(warningsOf({ NODE_ENV: 'production' }), [/Neither PUBLIC_URL nor CORS_ORIGINS/])
  t.strictSame(warningsOf({ NODE_ENV: 'production', CORS_ORIGINS: 'https://app.example.com' }), [])
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
