import { UnavailableError } from './errors.js'

/** The outcome of `work`, or UnavailableError (503) once `ms` have passed; then `onTimeout` is called, and `work` itself goes on. */
export async function withTimeout<T> (work: Promise<T>, ms: number, onTimeout: () => void): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      onTimeout()
      reject(Object.assign(new UnavailableError(), { retryAfterSeconds: 2, detail: 'TIMEOUT' }))
    }, ms)
  })
  try {
    return await Promise.race([work, timeout])
  } finally {
    clearTimeout(timer)
  }
}
