/** Whether a request with this method changes nothing (RFC 9110 9.2.1), among those that Latchkey's routes have. */
export function isSafeMethod (method: string): boolean {
  return method === 'GET' || method === 'HEAD'
}
