import type { IncomingHttpHeaders } from 'node:http'
import { createNetworkMatcher } from '../shared/address.js'
import { isSafeMethod } from '../shared/safe-method.js'

/** The request of a proxy that asks, as far as it matters here. */
export interface Asking { method: string, url: string, headers: IncomingHttpHeaders, socket: { remoteAddress?: string | undefined } }

/** What the proxy says of the request that it asks about; null for what it doesn't say. */
export interface Forwarded {
  method: string | null
  /** An absolute http or https URL without user and password. */
  url: URL | null
  /** As it stands after the `?` of the URI; null without one. */
  query: string | null
}

const nothing: Forwarded = { method: null, url: null, query: null }

/**
 * Reads X-Forwarded-Method, -Proto, -Host and -Uri, or X-Original-Method and X-Original-URL where these are missing, from proxies in
 * `trustProxy` (addresses or CIDRs). From anybody else they say nothing.
 */
export function createForwardedReader (trustProxy: string[]): (asking: Asking) => Forwarded {
  const isInNetworks = createNetworkMatcher(trustProxy)
  // A proxy keeps its connections, and has one address for as long as each of them lasts.
  const known = new WeakMap<object, boolean>()

  function isTrusted (socket: Asking['socket']): boolean {
    const before = known.get(socket)
    if (before !== undefined) return before
    const trusted = socket.remoteAddress !== undefined && isInNetworks(socket.remoteAddress)
    known.set(socket, trusted)
    return trusted
  }

  return ({ headers, socket }) => {
    if (!isTrusted(socket)) return nothing
    const uri = one(headers['x-forwarded-uri'])
    const proto = one(headers['x-forwarded-proto'])
    const host = one(headers['x-forwarded-host'])
    // Put together as text: a URI like //elsewhere is a path of this host.
    const whole = uri?.startsWith('/') === true && proto !== null && host !== null ? `${proto}://${host}${uri}` : one(headers['x-original-url'])
    return { method: methodOf(headers), url: whole === null ? null : parse(whole), query: queryOf(uri ?? whole ?? '') }
  }
}

/**
 * Whether the request asked about may change something. Where nobody says its method, an Origin does: browsers send one with each
 * method but GET and HEAD (https://fetch.spec.whatwg.org/#append-a-request-origin-header).
 */
export function isUnsafe ({ method }: Forwarded, asking: Pick<Asking, 'method' | 'headers'>): boolean {
  return method === null ? !isSafeMethod(asking.method) || asking.headers.origin !== undefined : !isSafeMethod(method)
}

/** Whether the query of `asking` is that of the request asked about: Caddy passes it on where its `uri` has none of its own. */
export function isQueryPassedOn ({ query }: Forwarded, { url }: Pick<Asking, 'url'>): boolean {
  return query !== null && query !== '' && query === queryOf(url)
}

/** Whether a browser waits for a page to show, which could as well be another one. */
export function isNavigation (forwarded: Forwarded, asking: Pick<Asking, 'method' | 'headers'>): boolean {
  const { 'sec-fetch-mode': mode, 'sec-fetch-dest': dest = 'document', accept = '' } = asking.headers
  if (isUnsafe(forwarded, asking)) return false
  // Over http browsers send Sec-Fetch-* to loopback alone.
  return mode === undefined ? /\btext\/html\b/i.test(accept) : mode === 'navigate' && dest === 'document'
}

/** Each header may come from a client where its proxy sets the other: a method is safe if nobody says otherwise. */
function methodOf (headers: IncomingHttpHeaders): string | null {
  const said = [one(headers['x-forwarded-method']), one(headers['x-original-method'])].filter(method => method !== null)
  return said.find(method => !isSafeMethod(method)) ?? said[0] ?? null
}

function parse (text: string): URL | null {
  if (!URL.canParse(text)) return null
  const url = new URL(text)
  return /^https?:$/.test(url.protocol) && url.username === '' && url.password === '' ? url : null
}

function queryOf (uri: string): string | null {
  const at = uri.indexOf('?')
  return at === -1 ? null : uri.slice(at + 1)
}

function one (value: string | string[] | undefined): string | null {
  return value === undefined || value === '' ? null : String(value)
}
