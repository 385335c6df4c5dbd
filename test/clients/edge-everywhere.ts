import { createEdgeVerifier } from '../../clients/js/src/edge.js'
import { createNextVerifier } from '../../clients/js/src/next.js'

export interface AtEdge {
  url: string
  service: string
  token: string
  hints: { upstash: { url: string, token: string, timeoutMs: number }, hinted: string, ended: string }
}

/**
 * What the verifiers of latchkey-client do in whichever runtime this is bundled for: resolves to what was found, by sentence. `token` is a
 * session's, and ended within; of `hinted` and `ended` only hints know.
 */
export async function checkEdge (
  { url, service, token, hints }: AtEdge
): Promise<Record<string, unknown>> {
  const options = { url, token: service, publicUrl: 'https://auth.example', corsOrigins: ['https://app.example'] }
  const edge = createEdgeVerifier(options)
  const next = createNextVerifier(() => options)
  const here = 'https://app.example/orders'
  const cookie = `__Host-latchkey=${token}`
  const status = async (found: unknown) => (await found as { status?: number } | undefined)?.status

  const live = await edge.verify(new Request(here, { headers: { authorization: `Bearer ${token}` } }))
  const byCookie = await edge.verify(new Request(here, { headers: { cookie } }))
  const twice = await edge.verify(new Request(here, { headers: { cookie: `${cookie}; ${cookie}` } }))
  const foreign = await status(edge.admit(new Request(here, { method: 'POST', headers: { cookie, origin: 'https://evil.example' } })))
  const ours = await edge.verify(new Request(here, { method: 'POST', headers: { cookie, origin: 'https://app.example' } }))
  const passes = await next.proxy(new Request(here, { headers: { cookie } })) === undefined
  const handled = await next.handler((_request, { user }) => new Response(user.id))(new Request(here, { headers: { cookie } }), {})
  const signIn = await next.proxy(new Request(here, { headers: { 'sec-fetch-mode': 'navigate' } }))
  const byHints = createEdgeVerifier({ ...options, upstash: hints.upstash })
  const hinted = await byHints.verify(hints.hinted)
  const ended = await byHints.verify(hints.ended)
  const withoutHint = await byHints.verify(token)
  const withoutUpstash = await createEdgeVerifier({ ...options, upstash: { ...hints.upstash, url: 'http://127.0.0.1:1' } }).verify(token)
  const loggedOut = await fetch(`${url}/v1/logout`, { method: 'POST', headers: { authorization: `Bearer ${token}` } })
  const dead = await edge.verify(token)
  const refused = await status(edge.admit(token))
  const away = createEdgeVerifier({ ...options, url: 'http://127.0.0.1:1' })
  const nobody = await away.verify(token).catch(error => (error as { code?: string }).code)
  const later = await status(away.admit(token))
  return {
    live: [live?.user.id, live?.session?.id],
    byCookie: byCookie?.user.id,
    twice,
    foreign,
    ours: ours?.user.id,
    passes,
    handled: await handled.text(),
    signIn: [signIn?.status, signIn?.headers.get('location')],
    hinted: hinted?.user.id,
    ended,
    withoutHint: withoutHint?.user.id,
    withoutUpstash: withoutUpstash?.user.id,
    loggedOut: loggedOut.status,
    dead,
    refused,
    nobody,
    later
  }
}

export const expectedAtEdge = (userId: string, sessionId: string) => ({
  live: [userId, sessionId],
  byCookie: userId,
  twice: null,
  foreign: 403,
  ours: userId,
  passes: true,
  handled: userId,
  signIn: [302, 'https://auth.example/account?return_to=https%3A%2F%2Fapp.example%2Forders'],
  hinted: 'hinted',
  ended: null,
  withoutHint: userId,
  withoutUpstash: userId,
  loggedOut: 204,
  dead: null,
  refused: 401,
  nobody: 'AUTH_UNAVAILABLE',
  later: 503
})
