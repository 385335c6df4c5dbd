import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { eventCauses, eventTypes } from '../../src/audit/event.js'
import { contrast, themeOf } from '../../src/pages/theme.js'
import { findLanguage } from '../../src/shared/language.js'
import { embeddedGround, type Ground, startApp } from '../fixtures/app.js'
import { root } from '../fixtures/programs.js'

/** What the server does for the pages; test/slow has the pages themselves, in a browser. */

const scripts = await import(new URL('../../scripts/pages.js', import.meta.url).href) as { buildPages (): Promise<void> }
await scripts.buildPages()

const shared = await (await embeddedGround()).database()
t.teardown(() => shared.close())
const ground: Ground = { ...await embeddedGround(), database: async () => ({ ...shared, close: async () => {} }) }

const read = (file: string) => JSON.parse(readFileSync(join(root, 'pages/texts', file), 'utf8')) as Record<string, string>

t.test('a page and all that it loads come from here, and files are kept for good', async t => {
  const one = await startApp(t, ground)
  const places = { '/account': './', '/account/': '../', '/account/devices': '../', '/admin/users/1': '../../', '/admin': './' }
  for (const [url, path] of Object.entries(places)) {
    const page = await one.call('GET', url)
    t.equal(page.statusCode, 200, url)
    t.match(page.headers, {
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'content-security-policy': "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    })
    t.notMatch(page.body, /<script>|<style|style=|\son\w+=/, 'nothing is inline')
    const links = [...page.body.matchAll(/(?:href|src)="([^"]*)"/g)].map(match => match[1] as string)
    t.ok(links.length >= 6)
    for (const link of links) {
      t.ok(link.startsWith(`${path}pages/assets/`), `${link}: relative, for there may be a prefix before it`)
      const file = await one.call('GET', new URL(link, `http://x${url}`).pathname)
      t.equal(file.statusCode, 200, link)
      t.equal(file.headers['cache-control'], 'public, max-age=31536000, immutable')
      t.match(link, /\.[0-9A-Za-z]{8}\.(js|css|svg)$/)
    }
  }
  t.equal((await one.app.inject({ method: 'HEAD', url: '/account' })).statusCode, 200)
  const [script = ''] = /pages\/assets\/account[^"]*/.exec((await one.call('GET', '/account')).body) ?? []
  const compressed = await one.call('GET', `/${script}`, { headers: { 'accept-encoding': 'gzip, br' } })
  t.match(compressed.headers, { 'content-encoding': 'br', vary: /accept-encoding/i, 'content-type': /javascript/ })
  for (const url of ['/pages/assets/', '/pages/assets/../manifest.json', '/pages/assets/%2e%2e/manifest.json', '/pages/manifest.json', `/${script}.br`, '/accounts']) {
    t.equal((await one.call('GET', url)).statusCode, 404, url)
  }
  t.equal((await one.call('POST', '/account')).statusCode, 404)
})

t.test('PAGES=false leaves the pages out', async t => {
  const one = await startApp(t, ground, { env: { PAGES: 'false' } })
  for (const url of ['/account', '/account/devices', '/admin', '/admin/users']) t.equal((await one.call('GET', url)).statusCode, 404, url)
})

t.test('a page gets name, logo and rules as data, and nothing that is set can become markup', async t => {
  const one = await startApp(t, ground, {
    env: {
      APP_NAME: `"><script>alert('1')</script>&`, APP_LOGO: 'https://cdn.example/logo.svg', APP_COLOR: '#ffe08a', REGISTRATION: 'closed', PASSWORD_MIN_LENGTH: '12', SECOND_FACTOR: 'admins',
      PUBLIC_URL: 'https://auth.example/base', CORS_ORIGINS: 'https://app.example,capacitor://localhost'
    }
  })
  const { body, headers } = await one.call('GET', '/account')
  t.match(headers['content-security-policy'], /; img-src 'self' data: https:\/\/cdn\.example;/)
  t.notMatch(body, '<script>')
  t.match(body, 'data-app-name="&#34;&#62;&#60;script&#62;alert(&#39;1&#39;)&#60;/script&#62;&#38;"')
  t.match(body, 'data-app-logo="https://cdn.example/logo.svg" data-registration="closed" data-password-min-length="12" data-second-factor="admins"')
  t.match(body, 'data-return-origins="https://app.example https://auth.example"', 'pages alone, and no app')
  const [, theme = ''] = /href="\.\/(pages\/assets\/theme[^"]*)"/.exec(body) ?? []
  t.equal((await one.call('GET', `/${theme}`)).body, themeOf('#ffe08a'))
})

t.test('whatever the colour is, it can be read', async t => {
  const parse = (color: string) => [1, 3, 5].map(at => Number.parseInt(color.slice(at, at + 2), 16)) as [number, number, number]
  const surfaces = { light: ['#ffffff', '#f3f4f6'], dark: ['#1c1f24', '#111317'] }
  const stylesheet = readFileSync(join(root, 'pages/shared/style.css'), 'utf8')
  t.same([...stylesheet.matchAll(/--(?:page|card): (#\w+)/g)].map(match => match[1]?.replace(/^#fff$/, '#ffffff')), [
    ...surfaces.light.toReversed(),
    ...surfaces.dark.toReversed()
  ], 'the surfaces are those of the stylesheet')
  for (const color of ['#000000', '#ffffff', '#1d5fa6', '#ffe08a', '#ff0000', '#00ff00', '#0000ff', '#777777', '#12ab9c']) {
    const schemes = [...themeOf(color).matchAll(/--accent:(#\w+);--on-accent:(#\w+);--accent-text:(#\w+)/g)]
    t.equal(schemes.length, 2)
    for (const [i, [, accent = '', onAccent = '', text = '']] of schemes.entries()) {
      t.equal(accent, color)
      t.ok(contrast(parse(accent), parse(onAccent)) >= 4.5, `${onAccent} on ${accent}`)
      for (const surface of surfaces[i === 0 ? 'light' : 'dark']) t.ok(contrast(parse(text), parse(surface)) >= 4.5, `${text} on ${surface}`)
    }
  }
})

t.test('the language is what the browser asks for, else English', async t => {
  const known = ['en', 'ar', 'de']
  for (const [header, language] of [
    [undefined, null], ['', null], ['*', null], ['fr', null], ['de', 'de'], ['DE-at', 'de'], ['fr-CH, fr;q=0.9, de;q=0.8, en;q=0.7', 'de'],
    ['en;q=0.1, ar-EG', 'ar'], ['de;q=0, ar;q=0.1', 'ar'], ['zh-Hant-TW,ar-Arab-EG;q=0.2', 'ar'], [';;,=;q=x', null], ['den', null]
  ] as const) t.equal(findLanguage(known, header), language, String(header))
  const one = await startApp(t, ground)
  t.match((await one.call('GET', '/account', { headers: { 'accept-language': 'ar-EG' } })).body, /<html lang="ar" dir="rtl".*<noscript>.*[\u0600-\u06ff].*<\/noscript>/s)
  t.match((await one.call('GET', '/account')).body, /<html lang="en" dir="ltr".*<noscript>.*JavaScript.*<\/noscript>/s)
})

t.test('each language has the same texts, with the same placeholders', async t => {
  const english = read('en.json')
  const placeholders = (text = '') => [...text.matchAll(/\{\w+\}/g)].map(match => match[0]).sort()
  const files = readdirSync(join(root, 'pages/texts'))
  t.ok(files.length >= 3)
  t.ok(files.some(file => read(file)['language.direction'] === 'rtl'))
  for (const file of files) {
    const texts = read(file)
    t.same(Object.keys(texts), Object.keys(english), `${file}: the same names in the same order`)
    for (const [key, text] of Object.entries(texts)) {
      t.same(placeholders(text), placeholders(english[key]), `${file} ${key}`)
      t.ok(text.trim() !== '', `${file} ${key}`)
    }
  }
})

t.test('whatever happens to an account has words', async t => {
  const english = read('en.json')
  for (const name of [...eventTypes.map(type => `event.${type}`), ...eventCauses.map(cause => `cause.${cause}`)]) t.ok(english[name], name)
})

t.test('every text is used', async t => {
  const sources = readdirSync(join(root, 'pages'), { recursive: true, encoding: 'utf8' }).filter(name => /\.tsx?$/.test(name))
    .map(name => readFileSync(join(root, 'pages', name), 'utf8')).join('\n')
  const byName = /^(error|event|cause|kind|trust)\./
  const unused = Object.keys(read('en.json')).filter(key => !byName.test(key) && !key.startsWith('page.noScript') && !sources.includes(`'${key}'`))
  t.same(unused, [])
})
