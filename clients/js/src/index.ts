export { type Client, createClient } from './client.js'
export { createLocalStorage, createMemoryStorage, createSecureStorage, type SecureStore } from './storage.js'
export type {
  AuthError,
  AuthEvent,
  AuthListener,
  AuthSession,
  ClientOptions,
  Factors,
  ListedSession,
  ListOptions,
  PersonalToken,
  Result,
  Session,
  SessionResult,
  TokenStorage,
  User
} from './types.js'
