/** `real` within the spans that `wrap` puts around it; `real` itself where nothing is traced. */
export function traced<T> (real: T, wrap: ((real: T) => T) | undefined): T {
  return wrap === undefined ? real : wrap(real)
}
