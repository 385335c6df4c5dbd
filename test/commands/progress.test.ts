import t from 'tap'
import { createProgressDisplay } from '../../src/commands/progress.js'

/** All that a display writes. */
function displayOn (isTTY: boolean) {
  let written = ''
  const display = createProgressDisplay({
    isTTY,
    write (text: string | Uint8Array) {
      written += String(text)
      return true
    }
  })
  return { ...display, take: () => [written, written = ''][0] as string }
}

const checking = (count: number, fraction: number) => ({ step: 'Checking', count, unit: 'lines', fraction })
const deleting = (count: number) => ({ step: 'Deleting', count, unit: 'rows', fraction: null })

t.test('in a terminal there is one line a step, a bar that is written over', async t => {
  const { show, end, take } = displayOn(true)
  show(checking(500, 0.5))
  t.equal(take(), `\r[${'#'.repeat(12)}${'-'.repeat(12)}] Checking: 50%, 500 lines\u001b[K`)
  show(checking(999, 0.999))
  t.equal(take(), `\r[${'#'.repeat(23)}-] Checking: 99%, 999 lines\u001b[K`, 'full only when done')
  show(checking(1_000, 1))
  t.match(take(), /^\r\[#{24}\] Checking: 100%, 1000 lines/)
  show(deleting(5_000))
  t.equal(take(), '\n\rDeleting: 5000 rows\u001b[K', 'no bar where the whole is not known')
  end()
  t.equal(take(), '\n')
})

t.test('elsewhere there are plain lines: the first and last of a step, and one for each tenth of it', async t => {
  const { show, end, take } = displayOn(false)
  for (let line = 1; line <= 995; line++) show(checking(line, line / 1_000))
  show({ ...checking(1, 1), step: 'Importing' })
  t.strictSame(take().split('\n'), [
    'Checking: 0%, 1 lines', ...Array.from({ length: 9 }, (_, i) => `Checking: ${i + 1}0%, ${i + 1}00 lines`), 'Checking: 99%, 995 lines',
    'Importing: 100%, 1 lines', ''
  ])
  end()
  t.equal(take(), '', 'what has been said is not repeated')
})

t.test('where the whole is not known, a plain line comes at each doubling', async t => {
  const { show, end, take } = displayOn(false)
  for (let batch = 1; batch <= 5; batch++) show(deleting(batch * 5_000))
  end()
  t.equal(take(), 'Deleting: 5000 rows\nDeleting: 10000 rows\nDeleting: 20000 rows\nDeleting: 25000 rows\n')
})

t.test('without any progress there is nothing to see', async t => {
  for (const isTTY of [true, false]) {
    const { end, take } = displayOn(isTTY)
    end()
    t.equal(take(), '')
  }
})
