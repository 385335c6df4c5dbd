import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { type AboutField, describe, NotFoundError, UnavailableError, type Waiting } from '../shared/errors.js'
import { refusalHeaders, refusalOf } from './refusal.js'
import { logRefusal } from './refusal-log.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The field of the body that the caller's own password belongs to, where it isn't `password`. */
    passwordField?: string
  }
}

/** The error handler of our routes: a 5xx tells the client nothing, and is logged without what a database puts into its messages. */
export function answerError (error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  if ((error.statusCode ?? 500) >= 500) report(request, error)
  else logRefusal(request, error)
  sendError(reply, error)
}

/** A client that asks for the password has to know where it goes: `password` may be somebody else's. */
const asksForPassword = /^AUTH_(REAUTHENTICATE|WRONG_PASSWORD)$/
/** And where a code of a second factor goes. */
const asksForCode = /^AUTH_(REAUTHENTICATE|SECOND_FACTOR_INVALID)$/

/** The 404 of a URL that has no route. */
export function answerNotFound (reply: FastifyReply): void {
  sendError(reply, new NotFoundError())
}

/** Sends `error` in the shape of all errors, and masks one that no client may see. */
export function sendError (reply: FastifyReply, error: FastifyError & Waiting & AboutField): void {
  const { status, headers, body } = refusalOf(error)
  reply.code(status).headers(headers).send({ ...body, ...fieldOf(error, body.code, reply) })
}

function fieldOf ({ field }: AboutField, code: string, reply: FastifyReply): { field?: string } {
  if (field !== undefined && asksForCode.test(code)) return { field }
  return asksForPassword.test(code) ? { field: reply.request.routeOptions.config.passwordField ?? 'password' } : {}
}

/** The headers of a refusal, where another writes its body. */
export function setRefusalHeaders (reply: FastifyReply, error: Partial<FastifyError> & Partial<Waiting>): void {
  reply.headers(refusalHeaders(error))
}

function report (request: FastifyRequest, error: FastifyError & { detail?: string, constraint?: string }): void {
  const fields = { failure: describe(error), detail: error.detail, constraint: error.constraint }
  if (error instanceof UnavailableError) request.log.warn(fields, 'answered 503')
  else request.log.error({ ...fields, at: stackOf(error) }, 'answered 500')
}

/** The first frames of the stack. The lines before them repeat the message, which may carry parameters. */
function stackOf ({ stack, message }: Error): string[] | undefined {
  const frames = stack?.slice(stack.indexOf(message) + message.length).split('\n').filter(line => /^\s+at /.test(line))
  return frames?.slice(0, 8).map(withoutFolders)
}

/** A line of a stack with its file and folder, but not where they are installed. */
function withoutFolders (line: string): string {
  return line.replace(/^(\s+at (?:.* \()?(?:async )?)(?:file:\/\/)?\/.*\/(?=[^/]+\/[^/]+$)/, '$1')
}
