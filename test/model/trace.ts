import type { Line, Violation } from './explorer.js'

/** A counterexample, a line a step, the broken promise last. */
export function printTrace ({ broken, trace }: Violation): string[] {
  const actors = Math.max(...trace.map(({ actor }) => actor.length))
  const deeds = Math.max(...trace.map(({ does }) => does.length))
  const print = ({ actor, does, text }: Line) => `${actor.padEnd(actors)}  ${does.padEnd(deeds)}  ${text}`
  return [...trace.map(print), `=> ${broken}`]
}
