import fastifyStatic from '@fastify/static'
import type { FastifyPluginAsync, FastifyReply } from 'fastify'
import type { Pages } from './index.js'

/** The names of files change with what is in them. */
const forGood = 'public, max-age=31536000, immutable'

/** /account and /admin for people, and the files that they are made of. */
export const pageRoutes: FastifyPluginAsync<{ pages: Pages }> = async (app, { pages }) => {
  const config = { guard: 'anyone' as const }
  const schema = { hide: true }

  await app.register(fastifyStatic, {
    root: pages.assets,
    prefix: '/pages/assets/',
    // One route for each file that is there at the start: no request reaches another.
    wildcard: false,
    globIgnore: ['**/*.br', '**/*.gz'],
    preCompressed: true,
    decorateReply: false,
    index: false,
    dotfiles: 'ignore',
    cacheControl: false,
    lastModified: false,
    setHeaders: reply => { reply.header('cache-control', forGood) }
  })

  app.get(`/pages/assets/${pages.theme.name}`, { config, schema }, (_request, reply) =>
    reply.header('cache-control', forGood).type('text/css; charset=utf-8').send(pages.theme.css))

  for (const page of ['account', 'admin'] as const) {
    for (const url of [`/${page}`, `/${page}/*`]) {
      app.get(url, { config, schema }, ({ url, headers }, reply) =>
        describePage(reply).send(pages.render(page, url.split('?', 1)[0] as string, headers['accept-language'])))
    }
  }

  /** A page may hold a token in its URL, after the #; and nothing of it may tell another site where its visitor comes from. */
  function describePage (reply: FastifyReply): FastifyReply {
    return reply.type('text/html; charset=utf-8').headers({
      'content-security-policy': pages.contentSecurityPolicy,
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
      vary: 'Accept-Language'
    })
  }
}
