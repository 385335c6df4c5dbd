import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { NotSupportedError, UnavailableError } from '../../src/shared/errors.js'
import { createVault, type SealContext } from '../../src/vault/vault.js'

const newKey = (id: string) => ({ id, key: randomBytes(32) })
const context: SealContext = { userId: '7d3c0a51-5c4f-4a9e-9b6e-0d5f2f1f8c11', purpose: 'totp', column: 'secret' }
const secret = Buffer.from('a secret that nobody may read')

const refusedAs = (detail: string) => (error: unknown) => error instanceof UnavailableError && (error as { detail?: string }).detail === detail

function refused (t: Test, open: () => unknown, detail: string, why: string): void {
  try {
    open()
    t.fail(`opened: ${why}`)
  } catch (error) {
    t.ok(refusedAs(detail)(error), why)
    t.notMatch(String(error), 'secret')
  }
}

t.test('what was sealed opens again, and shows neither itself nor that it is the same', async t => {
  const vault = createVault([newKey('2026-11')])
  const [one, two] = [vault.seal(secret, context), vault.seal(secret, context)]
  t.same(vault.open(one, context), secret)
  t.same(vault.open(new Uint8Array(two), context), secret, 'whatever kind of bytes the database returns')
  t.same(vault.open(vault.seal(Buffer.alloc(0), context), context), Buffer.alloc(0))
  t.notSame(one, two, 'each under a nonce of its own')
  t.equal(one.includes('secret'), false)
  t.ok(one.subarray(0, 9).includes('2026-11'), "the key's id is in front")
})

t.test('it opens for nobody else, for no other purpose and in no other column', async t => {
  const vault = createVault([newKey('1')])
  const sealed = vault.seal(secret, context)
  for (const other of [
    { ...context, userId: '7d3c0a51-5c4f-4a9e-9b6e-0d5f2f1f8c12' },
    { ...context, purpose: 'provider:corp' },
    { ...context, column: 'pending_secret' },
    { ...context, purpose: 'tot', column: 'psecret' },
    { ...context, purpose: 'totp","secret', column: '' }
  ]) refused(t, () => vault.open(sealed, other), 'VAULT_DAMAGED', JSON.stringify(other))
})

t.test('a single bit that differs, and any cut, is noticed', async t => {
  const vault = createVault([newKey('1')])
  const sealed = vault.seal(secret, context)
  for (let i = 0; i < sealed.length; i++) {
    const bent = Buffer.from(sealed)
    bent.writeUInt8(bent.readUInt8(i) ^ 1, i)
    t.throws(() => vault.open(bent, context), { code: 'AUTH_UNAVAILABLE' }, `byte ${i}`)
    t.throws(() => vault.open(sealed.subarray(0, i), context), { code: 'AUTH_UNAVAILABLE' }, `${i} bytes of it`)
  }
})

t.test('the first key encrypts and all decrypt, so that keys can be replaced while both are in use', async t => {
  const [old, young] = [newKey('old'), newKey('young')]
  const before = createVault([old])
  const during = createVault([young, old])
  const after = createVault([young])
  const sealedBefore = before.seal(secret, context)
  const sealedDuring = during.seal(secret, context)
  t.same(during.open(sealedBefore, context), secret)
  t.equal(during.isCurrent(sealedBefore), false, 'to be sealed again')
  t.equal(during.isCurrent(sealedDuring), true)
  t.same(after.open(sealedDuring, context), secret)
  refused(t, () => after.open(sealedBefore, context), 'VAULT_KEY_MISSING', 'its key is gone')
  const impostor = createVault([{ id: 'old', key: young.key }])
  refused(t, () => impostor.open(sealedBefore, context), 'VAULT_DAMAGED', 'another key under the same id')
})

t.test('without a key nothing is sealed, and the refusal says what to set', async t => {
  const vault = createVault([])
  t.equal(vault.hasKeys, false)
  t.throws(() => vault.seal(secret, context), NotSupportedError)
  t.throws(() => vault.seal(secret, context), /VAULT_KEYS_FILE/)
  refused(t, () => vault.open(createVault([newKey('1')]).seal(secret, context), context), 'VAULT_KEY_MISSING', 'nor opened')
})
