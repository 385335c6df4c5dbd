import type { Config } from '../config/config.js'

type IssuerConfig = Pick<Config, 'publicUrl' | 'production' | 'host' | 'port'>

/**
 * This server's URL as clients know it: PUBLIC_URL, or in development the loopback address it listens on; null where neither is known.
 * The Host header only chooses among our own loopback names: a client must not choose the issuer.
 */
export function issuerOf ({ publicUrl, production, host, port }: IssuerConfig, listening: number | null, asked = ''): string | null {
  if (publicUrl !== undefined) return publicUrl
  if (production || !/^(localhost|127\.\d+\.\d+\.\d+|::1)$/.test(host)) return null
  const own = host.includes(':') ? `[${host}]` : host
  const names = [own, ...isBoth(host) ? ['localhost', '127.0.0.1', '[::1]'] : []].map(name => `${name}:${listening ?? port}`)
  return `http://${names.find(name => name === asked) ?? names[0]}`
}

/** Whether a server at `host` answers on both loopback addresses, see http/listen.ts. */
const isBoth = (host: string): boolean => /^(localhost|127\.0\.0\.1)$/.test(host)

/** RFC 8414 2. There is no authorization endpoint, because no grant here starts with one. */
export function metadataOf (issuer: string) {
  return {
    issuer,
    token_endpoint: `${issuer}/oauth/token`,
    token_endpoint_auth_methods_supported: ['none', 'client_secret_basic'],
    grant_types_supported: ['refresh_token'],
    // Required, although no response type exists here.
    response_types_supported: [] as string[],
    introspection_endpoint: `${issuer}/oauth/introspect`,
    introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'Bearer'],
    revocation_endpoint: `${issuer}/oauth/revoke`,
    revocation_endpoint_auth_methods_supported: ['none', 'client_secret_basic'],
    service_documentation: `${issuer}/docs`
  }
}
