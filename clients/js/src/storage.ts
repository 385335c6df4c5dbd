import { findLocalStorage } from './platform.js'
import type { TokenStorage } from './types.js'

/** Gone with the page or the process. */
export function createMemoryStorage (): TokenStorage {
  let kept: string | null = null
  return {
    load: async () => kept,
    save: async text => { kept = text },
    clear: async () => { kept = null }
  }
}

/**
 * Survives a reload and is shared by all tabs of the origin. Every script in the page can read it, so one that is smuggled in can take the
 * session away. Where localStorage is missing or forbidden it is a memory.
 */
export function createLocalStorage ({ key = 'latchkey' }: { key?: string } = {}): TokenStorage {
  let memory: string | null = null
  // A full or forbidden localStorage throws.
  const attempt = <T>(work: (area: NonNullable<ReturnType<typeof findLocalStorage>>) => T, otherwise: () => T): T => {
    const area = findLocalStorage()
    if (area === null) return otherwise()
    try { return work(area) } catch { return otherwise() }
  }
  return {
    shared: key,
    load: async () => memory ?? attempt(area => area.getItem(key), () => null),
    save: async text => {
      memory = null
      attempt(area => area.setItem(key, text), () => { memory = text })
    },
    clear: async () => {
      memory = null
      attempt(area => area.removeItem(key), () => {})
    }
  }
}

/** What expo-secure-store exports, or the same over another keychain. */
export interface SecureStore {
  getItemAsync (key: string): Promise<string | null>
  setItemAsync (key: string, text: string): Promise<void>
  deleteItemAsync (key: string): Promise<void>
}

/** The keychain of a phone, which holds 2,048 bytes: it is given the refresh token alone, and the rest is asked for when the app starts. */
export function createSecureStorage (store: SecureStore, { key = 'latchkey' }: { key?: string } = {}): TokenStorage {
  return {
    load: () => store.getItemAsync(key),
    save: text => store.setItemAsync(key, refreshTokenOf(text)),
    clear: () => store.deleteItemAsync(key)
  }
}

const refreshTokenOf = (text: string): string => (JSON.parse(text) as { refreshToken: string }).refreshToken
