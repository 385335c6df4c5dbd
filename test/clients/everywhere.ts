import { createClient, createMemoryStorage } from '../../clients/js/src/index.js'

/**
 * What latchkey-client does in whichever runtime this is bundled for: resolves to what was found, by sentence. Uses nothing but the client.
 */
export async function checkEverywhere (url: string, email: string, password: string): Promise<Record<string, unknown>> {
  const storage = createMemoryStorage()
  const client = createClient({ url, mode: 'bearer', storage })
  const events: string[] = []
  client.onAuthStateChange(event => { events.push(event) })
  const stranger = await client.getSession()
  const wrong = await client.signInWithPassword({ email, password: 'wrong' })
  const signedIn = await client.signInWithPassword({ email, password })
  const refreshed = await client.refreshSession()
  const renamed = await client.updateUser({ name: 'Ada' })
  const request = await client.fetch(new Request(`${url}/v1/me`))
  const again = createClient({ url, mode: 'bearer', storage })
  const awake = await again.getSession()
  const out = await client.signOut()
  const offline = await createClient({ url: 'http://127.0.0.1:1', mode: 'bearer' }).signInWithPassword({ email, password })
  client.dispose()
  again.dispose()
  return {
    stranger: stranger.data,
    wrong: wrong.error?.code,
    signedIn: signedIn.data?.user.email,
    refreshed: refreshed.error,
    renamed: renamed.data?.user.name,
    request: request.status,
    awake: awake.data?.user.name,
    out: out.error,
    offline: offline.error?.code,
    events
  }
}

export const expected = (email: string) => ({
  stranger: null,
  wrong: 'AUTH_INVALID_CREDENTIALS',
  signedIn: email,
  refreshed: null,
  renamed: 'Ada',
  request: 200,
  awake: 'Ada',
  out: null,
  offline: 'NETWORK',
  events: ['INITIAL_SESSION', 'SIGNED_IN', 'TOKEN_REFRESHED', 'USER_UPDATED', 'SIGNED_OUT']
})
