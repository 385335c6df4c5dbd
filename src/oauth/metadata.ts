import type { Config } from '../config/config.js'

type Place = Pick<Config, 'publicUrl' | 'production' | 'host' | 'port'>

/**
 * This server as its clients know it: PUBLIC_URL, or in development the loopback address it listens on; null where neither says it. The Host
 * header has no say in it: whoever sent a request would choose the issuer.
 */
export function issuerOf ({ publicUrl, production, host, port }: Place, listening: number | null): string | null {
  if (publicUrl !== undefined) return new URL(publicUrl).origin + new URL(publicUrl).pathname.replace(/\/+$/, '')
  if (production || !/^(localhost|127\.\d+\.\d+\.\d+|::1)$/.test(host)) return null
  return `http://${host.includes(':') ? `[${host}]` : host}:${listening ?? port}`
}

/** RFC 8414 2. No grant begins with an authorization endpoint, so there is none. */
export function metadataOf (issuer: string) {
  return {
    issuer,
    token_endpoint: `${issuer}/oauth/token`,
    token_endpoint_auth_methods_supported: ['none', 'client_secret_basic'],
    grant_types_supported: ['refresh_token'],
    // Required, although nothing has a response type here.
    response_types_supported: [] as string[],
    introspection_endpoint: `${issuer}/oauth/introspect`,
    introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'Bearer'],
    revocation_endpoint: `${issuer}/oauth/revoke`,
    revocation_endpoint_auth_methods_supported: ['none', 'client_secret_basic'],
    service_documentation: `${issuer}/docs`
  }
}
