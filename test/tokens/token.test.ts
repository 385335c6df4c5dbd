import { createHash } from 'node:crypto'
import t from 'tap'
import { TokenMint } from '../../src/tokens/token.js'

const mint = new TokenMint(Buffer.alloc(32, 7))
/** The part of a token between its prefix and its check. */
const secretOf = (token: string) => token.slice(3, -7)

t.test('a token is distinguished from a made-up one, whether seen before or not', async t => {
  const token = mint.issue('access').reveal()
  for (const time of ['the first time', 'and again', 'by heart']) {
    const plain = mint.parse(token)
    t.match([plain?.kind, plain?.reveal(), plain?.hash().hex()], ['access', token, createHash('sha256').update(token).digest('hex')], time)
  }
  const other = mint.issue('access').reveal()
  const borrowed = `lk_${secretOf(other)}${token.slice(-7)}`
  t.equal(mint.parse(borrowed), null, 'with the check of a token seen before')
  t.equal(mint.parse(`lkp_${token.slice(3)}`), null, 'of another kind')
  for (const text of [
    `${token} `,
    ` ${token}`,
    `${token}\n`,
    token.slice(1),
    token.slice(0, -1),
    token.slice(-7),
    '',
    'lk_',
    `${token.slice(0, 10)}é${token.slice(11)}`
  ]) t.equal(mint.parse(text), null, JSON.stringify(text))
  t.ok(mint.parse(token), 'the real token still works')
  t.equal(new TokenMint(Buffer.alloc(32, 8)).parse(token), null, "another database's")
})

t.test('tokens are still distinguished when more have been seen than are kept', async t => {
  const tokens = Array.from({ length: 25_000 }, () => mint.issue('personal').reveal())
  for (const _time of [1, 2, 3]) t.equal(tokens.filter(token => mint.parse(token)?.reveal() !== token).length, 0)
  t.equal(tokens.filter((token, i) => mint.parse(token.slice(0, -7) + (tokens[i + 1] ?? '').slice(-7)) !== null).length, 0)
})
