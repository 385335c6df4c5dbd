import { UnavailableError } from './errors.js'

/** Rejects with UnavailableError when `work` takes longer than `ms`, and tells `onTimeout`. */
export async function inTime<T> (work: Promise<T>, ms: number, onTimeout: () => void): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      onTimeout()
      reject(Object.assign(new UnavailableError(), { retryAfterSeconds: 2, detail: 'TIMEOUT' }))
    }, ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
