import t from 'tap'
import { TokenMint } from '../../src/tokens/token.js'

t.setTimeout(300_000)

t.test('V7.2.3 a million tokens are unique, and no letter of them is favoured', async t => {
  const mint = new TokenMint(Buffer.alloc(32, 7))
  const seen = new Set<string>()
  const letters = new Map<string, number>()
  for (let i = 0; i < 1_000_000; i++) {
    const random = mint.issue('access').reveal().slice(3, 46)
    seen.add(random)
    const letter = random[i % 43] as string
    letters.set(letter, (letters.get(letter) ?? 0) + 1)
  }
  t.equal(seen.size, 1_000_000)
  t.equal(letters.size, 62)
  const chiSquared = [...letters.values()].reduce((sum, count) => sum + (count - 1e6 / 62) ** 2 / (1e6 / 62), 0)
  t.ok(chiSquared < 150, `chi squared ${chiSquared.toFixed(0)} at 61 degrees of freedom`)
})
