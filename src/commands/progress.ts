import type { Progress } from '../shared/progress.js'

const barWidth = 24

/** Shows the progress of one command. */
export interface ProgressDisplay {
  show (progress: Progress): void
  /** Shows how far it has come in the end, and leaves the line. */
  end (): void
}

/**
 * In a terminal one line that is written over: a bar, where the whole is known. Elsewhere (a log, a pipe) plain lines: the first and the
 * last of each step, and one for each further tenth of it, or for each doubling where the whole isn't known.
 */
export function createProgressDisplay (output: Pick<NodeJS.WriteStream, 'isTTY' | 'write'>): ProgressDisplay {
  return output.isTTY ? createBar(output) : createLines(output)
}

function createBar (output: Pick<NodeJS.WriteStream, 'write'>): ProgressDisplay {
  let step: string | null = null
  return {
    show (progress) {
      if (step !== null && step !== progress.step) output.write('\n')
      step = progress.step
      // The line may have been longer before.
      output.write(`\r${barOf(progress)}\u001b[K`)
    },
    end () {
      if (step !== null) output.write('\n')
    }
  }
}

function createLines (output: Pick<NodeJS.WriteStream, 'write'>): ProgressDisplay {
  let last: Progress | null = null
  let written: Progress | null = null

  function write (progress: Progress): void {
    output.write(`${textOf(progress)}\n`)
    written = progress
  }
  function finish (): void {
    if (last !== null && last !== written) write(last)
  }

  return {
    show (progress) {
      const begins = last?.step !== progress.step
      if (begins) finish()
      last = progress
      if (begins || written === null || isFurther(written, progress)) write(progress)
    },
    end: finish
  }
}

function isFurther (before: Progress, { count, fraction }: Progress): boolean {
  return fraction === null || before.fraction === null
    ? count >= Math.max(1, before.count * 2)
    : Math.floor(fraction * 10) > Math.floor(before.fraction * 10)
}

function barOf (progress: Progress): string {
  if (progress.fraction === null) return textOf(progress)
  const done = Math.floor(progress.fraction * barWidth)
  return `[${'#'.repeat(done)}${'-'.repeat(barWidth - done)}] ${textOf(progress)}`
}

/** Such as `Checking: 45%, 12000 lines`. */
function textOf ({ step, count, unit, fraction }: Progress): string {
  return `${step}: ${fraction === null ? '' : `${Math.floor(fraction * 100)}%, `}${count} ${unit}`
}
