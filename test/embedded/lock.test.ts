import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { callServer } from '../../src/embedded/command-client.js'
import { serveCommands } from '../../src/embedded/command-server.js'
import { claimDataDir, DataDirInUseError } from '../../src/embedded/lock.js'

type Answer = { won?: true, pid?: number | null, message?: string, files?: string[] }

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const RACERS = 8
const ROUNDS = 25
const ok = { exitCode: 0, stdout: '', stderr: '' }
const which = { command: 'which', args: [] }

// A process that claims, serves and releases on request; it ends with the test, whatever the outcome.
const STARTER = `
  import { claimDataDir } from './src/embedded/lock.ts'
  import { serveCommands } from './src/embedded/command-server.ts'
  let claim
  const acts = {
    async claim (dir) {
      claim = await claimDataDir(dir, 'server')
      return { won: true }
    },
    async serve (dir) {
      await serveCommands(dir, async () => ({ exitCode: 0, stdout: String(process.pid), stderr: '' }))
      return {}
    },
    async release () {
      await claim?.release()
      claim = undefined
      return {}
    }
  }
  process.on('message', async ({ act, dir }) => {
    const answer = await acts[act](dir).catch(({ pid, message }) => ({ pid, message }))
    process.send(answer)
  })
  process.on('disconnect', () => process.exit())
  process.send({})
`

class Starter {
  readonly #child: ChildProcess

  constructor (child: ChildProcess) {
    this.#child = child
  }

  static async start (t: Test): Promise<Starter> {
    const child = spawn(process.execPath, ['--import', './test/fixtures/load-typescript.js', '--input-type=module', '-e', STARTER], {
      cwd: ROOT,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc']
    })
    const starter = new Starter(child)
    t.teardown(() => starter.kill())
    await once(child, 'message')
    return starter
  }

  get pid (): number {
    return Number(this.#child.pid)
  }

  async ask (act: 'claim' | 'serve' | 'release', dir = ''): Promise<Answer> {
    const answer = once(this.#child, 'message')
    this.#child.send({ act, dir })
    return (await answer)[0] as Answer
  }

  freeze () {
    this.#child.kill('SIGSTOP')
  }

  async kill () {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exit = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exit
  }
}

function newFolder (t: Test): string {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'latchkey-')))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

function lockOf (dir: string): string {
  return join(dir, 'latchkey.lock')
}

function readLock (dir: string): Record<string, unknown> {
  return JSON.parse(readFileSync(lockOf(dir), 'utf8')) as Record<string, unknown>
}

function deadPid (): number {
  return spawnSync(process.execPath, ['--version']).pid
}

/** A lock as another process would have left it: like this process's, except for what the test changes. */
async function leaveLock (t: Test, dir: string, changes: Record<string, unknown>): Promise<void> {
  const model = newFolder(t)
  const claim = await claimDataDir(model, 'server')
  writeFileSync(lockOf(dir), JSON.stringify({ ...readLock(model), nonce: '0123456789abcdef', ...changes }))
  await claim.release()
}

async function assertTakenOver (t: Test, dir: string): Promise<void> {
  const claim = await claimDataDir(dir, 'server')
  t.equal(readLock(dir).pid, process.pid)
  t.equal(readdirSync(dir).length, 2, 'the lock and the sign of life, and nothing left by the dead process')
  await claim.release()
  t.same(readdirSync(dir), [])
}

t.test('a missing folder is created for its owner only, and claimed', async t => {
  const dir = join(newFolder(t), 'deep', 'data')
  const claim = await claimDataDir(dir, 'server')

  t.equal(claim.dir, dir)
  t.equal(statSync(dir).mode & 0o777, 0o700)
  t.equal(statSync(lockOf(dir)).mode & 0o777, 0o600)
  t.match(readLock(dir), { pid: process.pid, purpose: 'server', nonce: /^[0-9a-f]{16}$/ })
  for (const name of readdirSync(dir)) t.equal(statSync(join(dir, name)).mode & 0o777, 0o600, name)
  await claim.release()
})

t.test('a released folder is empty and free, and is not released twice', async t => {
  const dir = newFolder(t)
  const first = await claimDataDir(dir, 'server')
  await first.release()
  t.same(readdirSync(dir), [])

  const second = await claimDataDir(dir, 'command')
  await first.release()
  t.equal(readLock(dir).purpose, 'command', 'the second claim stands')
  await second.release()
})

t.test('a release leaves the lock alone if another process has taken it', async t => {
  const dir = newFolder(t)
  const claim = await claimDataDir(dir, 'server')
  await leaveLock(t, dir, {})
  await claim.release()
  t.equal(readLock(dir).nonce, '0123456789abcdef')
})

t.test('one process cannot claim a folder twice, not even concurrently', async t => {
  const dir = newFolder(t)
  const claims = await Promise.allSettled([claimDataDir(dir, 'command'), claimDataDir(dir, 'command')])
  const won = claims.filter(claim => claim.status === 'fulfilled')
  t.equal(won.length, 1)

  const refusal = await claimDataDir(dir, 'server').catch((error: unknown) => error)
  t.ok(refusal instanceof DataDirInUseError)
  t.match(refusal, { pid: process.pid, dir })
  t.match(String(refusal), `The data folder ${dir} is in use by a running command (process ${process.pid}): wait until it ends`)
  for (const claim of won) await claim.value.release()
})

t.test('the lock of a dead pid is taken over', async t => {
  const dir = newFolder(t)
  await leaveLock(t, dir, { pid: deadPid() })
  await assertTakenOver(t, dir)
})

t.test('the lock of a pid that now belongs to another process is taken over', async t => {
  const dir = newFolder(t)
  await leaveLock(t, dir, { pid: process.ppid, startedAt: 'once upon a time' })
  await assertTakenOver(t, dir)
})

t.test('the lock of an earlier process with our own pid is taken over', async t => {
  const dir = newFolder(t)
  await leaveLock(t, dir, {})
  await assertTakenOver(t, dir)
})

t.test('a living pid 1 does not prove that the holder is alive', async t => {
  const dir = newFolder(t)
  await leaveLock(t, dir, { pid: 1 })
  await assertTakenOver(t, dir)
})

t.test('a holder that has ended but has not been reaped by its parent counts as dead', {
  skip: !existsSync('/proc/self/stat') && 'needs /proc'
}, async t => {
  const dir = newFolder(t)
  const parent = spawn('sh', ['-c', 'sleep 1000 & echo $!; exec sleep 1000'], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => { parent.kill('SIGKILL') })
  const pid = Number(String((await once(parent.stdout, 'data'))[0]))
  const stat = () => readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')
  await leaveLock(t, dir, { pid, startedAt: stat()[21] })
  await t.rejects(claimDataDir(dir, 'server'), { name: 'DataDirInUseError', pid }, 'while it is alive')

  process.kill(pid, 'SIGKILL')
  while (stat()[2] !== 'Z') await new Promise(resolve => setTimeout(resolve, 20))
  await assertTakenOver(t, dir)
})

t.test('a lock from before a reboot is taken over', async t => {
  const dir = newFolder(t)
  await leaveLock(t, dir, { pid: process.ppid, startedAt: null, bootId: 'an earlier one' })
  await assertTakenOver(t, dir)
})

t.test('an unreadable lock is taken over', async t => {
  for (const text of ['', '{"pid":', '{}', 'null', JSON.stringify({ pid: -1, nonce: '../../etc' })]) {
    const dir = newFolder(t)
    writeFileSync(lockOf(dir), text)
    await assertTakenOver(t, dir)
  }
})

t.test('a takeover that died halfway is taken over, including its unreadable files', async t => {
  const dir = newFolder(t)
  await leaveLock(t, dir, { pid: deadPid() })
  await leaveLock(t, dir, { pid: deadPid(), nonce: 'aaaaaaaaaaaaaaaa' })
  for (const after of ['latchkey.lock.after-aaaaaaaaaaaaaaaa', 'latchkey.aaaaaaaaaaaaaaaa.alive']) writeFileSync(join(dir, after), '')
  await assertTakenOver(t, dir)
})

t.test('an unfinished takeover by a living process holds the folder', async t => {
  const dir = newFolder(t)
  await leaveLock(t, dir, { pid: deadPid() })
  const claim = await claimDataDir(dir, 'server')
  const mine = readFileSync(lockOf(dir), 'utf8')
  await leaveLock(t, dir, { pid: deadPid() })
  writeFileSync(`${lockOf(dir)}.after-0123456789abcdef`, mine)

  await t.rejects(claimDataDir(dir, 'server'), { name: 'DataDirInUseError', pid: process.pid })
  await claim.release()
})

t.test('a holder whose pid we cannot see holds the folder by its sign of life', async t => {
  const dir = newFolder(t)
  const claim = await claimDataDir(dir, 'server')
  const elsewhere = { ...readLock(dir), pid: deadPid() }
  writeFileSync(lockOf(dir), JSON.stringify(elsewhere))

  await t.rejects(claimDataDir(dir, 'command'), { name: 'DataDirInUseError', pid: elsewhere.pid })
  await claim.release()
  t.same(readdirSync(dir), [])
})

t.test('a server that accepts commands holds the folder, whatever the lock says', async t => {
  const dir = newFolder(t)
  const serving = await serveCommands(dir, async () => ok)
  const pid = deadPid()
  await leaveLock(t, dir, { pid })
  await t.rejects(claimDataDir(dir, 'server'), { name: 'DataDirInUseError', pid })

  for (const text of ['', '{"pid":1']) {
    writeFileSync(lockOf(dir), text)
    await t.rejects(claimDataDir(dir, 'server'), { name: 'DataDirInUseError', pid: null, message: /another process/ })
  }
  rmSync(lockOf(dir))
  await t.rejects(claimDataDir(dir, 'server'), { name: 'DataDirInUseError', pid: null })

  await serving.close()
  await (await claimDataDir(dir, 'server')).release()
})

t.test('a folder whose path is too long for a socket is claimed by pid alone', async t => {
  const dir = join(newFolder(t), 'long'.repeat(30))
  const claim = await claimDataDir(dir, 'server')
  t.same(readdirSync(dir), ['latchkey.lock'])
  await t.rejects(claimDataDir(dir, 'server'), { name: 'DataDirInUseError', pid: process.pid })
  await claim.release()
})

t.test('between processes', async t => {
  const starters = await Promise.all(Array.from({ length: RACERS }, () => Starter.start(t)))
  const [first, second] = starters
  if (!first || !second) throw new Error('there are no starters')

  await t.test('of many processes that find a dead lock, or none, exactly one gets the folder', async t => {
    for (let round = 0; round < ROUNDS; round++) {
      const dir = newFolder(t)
      if (round % 5 === 1) writeFileSync(lockOf(dir), '')
      else if (round % 5 !== 0) await leaveLock(t, dir, { pid: 1 })

      const answers = await Promise.all(starters.map(starter => starter.ask('claim', dir)))
      const winners = starters.filter((_, i) => answers[i]?.won)
      t.equal(winners.length, 1, `round ${round}`)
      t.equal(readLock(dir).pid, winners[0]?.pid)
      t.equal(readdirSync(dir).length, 2, 'the losers leave nothing behind')
      for (const { pid, message } of answers.filter(answer => !answer.won)) t.equal(pid, winners[0]?.pid, message ?? '')

      await Promise.all(starters.map(starter => starter.ask('release')))
      t.same(readdirSync(dir), [])
    }
  })

  await t.test('with continuous claims and releases, no two processes ever hold the folder', async t => {
    const dir = newFolder(t)
    const inside = join(newFolder(t), 'inside')
    let claims = 0
    await Promise.all(starters.map(async starter => {
      for (let turn = 0; turn < ROUNDS; turn++) {
        if (!(await starter.ask('claim', dir)).won) continue
        claims++
        // Fails if another process is inside.
        mkdirSync(inside)
        await new Promise(resolve => setImmediate(resolve))
        rmSync(inside, { recursive: true })
        await starter.ask('release')
      }
    }))
    t.ok(claims > 0)
    t.same(readdirSync(dir), [])
  })

  await t.test('a folder in use is refused with its holder\'s pid and folder', async t => {
    const dir = newFolder(t)
    t.ok((await first.ask('claim', dir)).won)
    const refusal = await second.ask('claim', dir)
    t.equal(refusal.pid, first.pid)
    t.equal(refusal.message, `The data folder ${dir} is in use by a running server (process ${first.pid}): ` +
      'stop that one, or choose another DATA_DIR.')
  })

  await t.test('a frozen server keeps its folder, and a command to it fails quickly with a clear error', async t => {
    const dir = newFolder(t)
    await second.ask('claim', dir)
    await second.ask('serve', dir)
    t.equal((await callServer(dir, which))?.stdout, String(second.pid))

    second.freeze()
    await t.rejects(claimDataDir(dir, 'server'), { name: 'DataDirInUseError', pid: second.pid })
    await t.rejects(
      Promise.race([callServer(dir, which, { acceptTimeoutMs: 200 }), delay(1_900)]),
      { message: /did not accept the command within 0.2 s: it is frozen/ }
    )

    await second.kill()
    t.equal(await callServer(dir, which), null)
    rmSync(join(dir, 'latchkey.sock'))
    await assertTakenOver(t, dir)
  })
})

t.test('a folder behind a symbolic link is the same folder', async t => {
  const dir = newFolder(t)
  const alias = join(newFolder(t), 'alias')
  symlinkSync(dir, alias)
  const claim = await claimDataDir(dir, 'server')
  await t.rejects(claimDataDir(alias, 'server'), { name: 'DataDirInUseError', pid: process.pid })
  await claim.release()
})
