import { randomBytes } from 'node:crypto'
import { Secret, TOTP } from 'otpauth'

/** What every authenticator app supports; many ignore other values in the URI (RFC 6238 1.2). */
const parameters = { algorithm: 'SHA1', digits: 6, period: 30 }
const stepMs = parameters.period * 1000

/** 160 bits (RFC 4226 4, R6). */
export function newTotpSecret (): Buffer {
  return randomBytes(20)
}

/** The secret as people type it, in Base32, and as apps read it from a QR code: an otpauth URI. */
export function describeTotp (secret: Uint8Array, { issuer, label }: { issuer: string, label: string }): { secret: string, uri: string } {
  const key = keyOf(secret)
  return { secret: key.base32, uri: new TOTP({ ...parameters, issuer, label, secret: key }).toString() }
}

/** The time step whose code this is: the current one, or the one before or after it (RFC 6238 5.2); null for a wrong code. */
export function totpStep (secret: Uint8Array, code: string, nowMs: number): number | null {
  const delta = TOTP.validate({ ...parameters, secret: keyOf(secret), token: code.replace(' ', ''), timestamp: nowMs, window: 1 })
  return delta === null ? null : Math.floor(nowMs / stepMs) + delta
}

/** A copy: of a pooled Buffer the library would take the whole pool. */
function keyOf (secret: Uint8Array): Secret {
  return new Secret({ buffer: Uint8Array.from(secret).buffer })
}
