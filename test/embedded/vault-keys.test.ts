import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/config/config.js'
import { requireVaultKeys } from '../../src/embedded/vault-keys.js'

function folderFor (t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-vault-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

t.test('an embedded database has keys of its own, made the first time and for their owner alone', async t => {
  const folder = folderFor(t)
  // Left behind by a process that died on its way.
  writeFileSync(join(folder, 'vault-keys.new'), '1:', { mode: 0o644 })
  const made = await requireVaultKeys(loadConfig({ DATA_DIR: folder }))
  t.match(made, [{ id: '1' }])
  t.equal(made[0]?.key.length, 32)
  t.same(readdirSync(folder), ['vault-keys'])
  t.equal(statSync(join(folder, 'vault-keys')).mode & 0o777, 0o600)
  t.same(await requireVaultKeys(loadConfig({ DATA_DIR: folder })), made, 'the same the next time')
  t.notSame(await requireVaultKeys(loadConfig({ DATA_DIR: folderFor(t) })), made, 'and others elsewhere')
})

t.test('VAULT_KEYS_FILE counts before them, and for a database server nothing is made', async t => {
  const folder = folderFor(t)
  const file = join(folder, 'given')
  writeFileSync(file, `mine:${Buffer.alloc(32, 7).toString('base64')}\n`)
  t.match(await requireVaultKeys(loadConfig({ DATA_DIR: folder, VAULT_KEYS_FILE: file })), [{ id: 'mine' }])
  t.same(await requireVaultKeys(loadConfig({ DATA_DIR: folder, DATABASE_URL: 'postgres://db.example/x' })), [])
  t.same(readdirSync(folder), ['given'])
})

t.test('a file in DATA_DIR that holds no keys is refused, and left as it is', async t => {
  const folder = folderFor(t)
  for (const text of ['', '1:short\n', 'garbage']) {
    writeFileSync(join(folder, 'vault-keys'), text)
    await t.rejects(requireVaultKeys(loadConfig({ DATA_DIR: folder })), { name: 'ConfigError', message: /^vault-keys in DATA_DIR / })
    t.equal(readFileSync(join(folder, 'vault-keys'), 'utf8'), text)
  }
})
