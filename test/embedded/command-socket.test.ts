import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { callServer } from '../../src/embedded/command-client.js'
import { serveCommands } from '../../src/embedded/command-server.js'
import type { Progress } from '../../src/shared/progress.js'

const ok = { exitCode: 0, stdout: '', stderr: '' }
const stats = { command: 'tokens:stats', args: [] }

t.test('a command is sent to the server with its arguments, and its outcome comes back', async t => {
  const dir = newFolder(t)
  const serving = await serveCommands(dir, async ({ command, args, folder, password }) => ({
    exitCode: 2, stdout: `${command}\n${args.join('|')}\n${folder}\n${password}\n`, stderr: 'naïve — 🔑\n'
  }))
  t.equal(statSync(socketOf(dir)).mode & 0o777, 0o600)

  const args = ['--email', 'ä@b', '', 'two\nlines']
  const request = { command: 'tokens:revoke', args, folder: '/a/b', password: 'pass\u0000word' }
  const outcome = { exitCode: 2, stdout: `tokens:revoke\n${args.join('|')}\n/a/b\npass\u0000word\n`, stderr: 'naïve — 🔑\n' }
  t.same(await callServer(dir, request), outcome)
  t.same(await Promise.all([1, 2, 3].map(() => callServer(dir, request))), [outcome, outcome, outcome])

  await serving.close()
  t.notOk(existsSync(socketOf(dir)))
  await serving.close()
})

t.test('an outcome of several megabytes arrives complete', async t => {
  const dir = newFolder(t)
  const stdout = 'ünïcode'.repeat(500_000)
  await serve(t, dir, async () => ({ ...ok, stdout }))
  t.ok((await callServer(dir, stats))?.stdout === stdout)
})

t.test('a command may run longer than the time limit for being accepted', async t => {
  const dir = newFolder(t)
  await serve(t, dir, async () => {
    await delay(2_100)
    return ok
  })
  t.same(await callServer(dir, stats, { acceptTimeoutMs: 2_000 }), ok)
})

t.test('the progress of a command arrives before its outcome, in order', async t => {
  const dir = newFolder(t)
  const steps = [{ step: 'Checking', count: 1, unit: 'lines', fraction: 0.5 }, { step: 'Prüfen', count: 2, unit: 'lines', fraction: null }]
  await serve(t, dir, async (_, onProgress) => {
    for (const progress of steps) onProgress(progress)
    await delay(10)
    onProgress(steps[0] as Progress)
    return { ...ok, stdout: 'two\nlines' }
  })
  const told: Progress[] = []
  t.same(await callServer(dir, stats, { onProgress: progress => { told.push(progress) } }), { ...ok, stdout: 'two\nlines' })
  t.same(told, [...steps, steps[0]])
  t.same(await callServer(dir, stats), { ...ok, stdout: 'two\nlines' }, 'who asks for none gets the outcome alone')
})

t.test('a command that throws exits with 1 and its message, without a stack trace', async t => {
  const dir = newFolder(t)
  await serve(t, dir, async () => { throw new Error('there is no such user') })
  t.same(await callServer(dir, stats), { exitCode: 1, stdout: '', stderr: 'there is no such user' })
})

t.test('the answer is null where no server listens', async t => {
  const dir = newFolder(t)
  t.equal(await callServer(dir, stats), null, 'no socket')
  t.equal(await callServer(join(dir, 'missing'), stats), null, 'no folder')
  t.equal(await callServer(join(dir, 'long'.repeat(30)), stats), null, 'too long for a socket')
  writeFileSync(socketOf(dir), '')
  t.equal(await callServer(dir, stats), null, 'a file that is not a socket')
})

t.test('a socket file left by a dead server is replaced', async t => {
  const dir = newFolder(t)
  writeFileSync(socketOf(dir), '')
  chmodSync(socketOf(dir), 0o666)
  await serve(t, dir, async () => ok)
  t.equal(statSync(socketOf(dir)).mode & 0o777, 0o600)
  t.same(await callServer(dir, stats), ok)
})

t.test('a request that is too large is refused by client and server, and runs nothing', async t => {
  const dir = newFolder(t)
  const ran: string[] = []
  await serve(t, dir, async ({ command }) => { ran.push(command); return ok })

  const big = { command: 'big', args: ['x'.repeat(64 * 1024)] }
  await t.rejects(callServer(dir, big), { message: /larger than the 65536 bytes/ })
  const refused = /^HTTP\/1\.1 413 .*\r\nit is larger than 65536 bytes\r\n/s
  for (const body of [JSON.stringify(big), 'x'.repeat(1024 * 1024)]) {
    t.match(await sendRaw(dir, post(body)), refused)
    t.match(
      await sendRaw(
        dir,
        `POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
      ),
      refused,
      'in chunks'
    )
  }

  const fits = { command: 'fits', args: ['x'.repeat(64 * 1024 - JSON.stringify({ command: 'fits', args: [''] }).length)] }
  t.same(await callServer(dir, fits), ok)
  t.same(ran, ['fits'])
})

t.test('a request that is not a command is refused, and runs nothing', async t => {
  const dir = newFolder(t)
  await serve(t, dir, async () => t.fail('it ran') as never)
  for (const body of [
    '',
    'tokens:prune',
    'null',
    '[]',
    '{"command":1,"args":[]}',
    '{"command":"a","args":[1]}',
    '{"command":"a"}',
    '{"command":"a","args":[],"password":1}'
  ]) {
    t.match(await sendRaw(dir, post(body)), /^HTTP\/1\.1 400 .*\r\nit is not a command with its arguments\r\n/s, body)
  }
  t.match(await sendRaw(dir, '{"command":"tokens:prune","args":[]}\n'), /^HTTP\/1\.1 400 /, 'not HTTP')
  await t.rejects(
    callServer(dir, { command: 'a', args: [1] } as never),
    { message: /refused the command: it is not a command with its arguments\.$/ }
  )
})

t.test('a request that never ends is cut off, and one whose caller disconnects runs nothing', async t => {
  const dir = newFolder(t)
  await serve(t, dir, async () => t.fail('it ran') as never)
  const half = post(JSON.stringify(stats)).slice(0, -1)
  for (const bytes of [half, 'POST / HTTP/1.1\r\nhost']) t.match(await sendRaw(dir, bytes), /^HTTP\/1\.1 408 /)

  const socket = connect(socketOf(dir))
  socket.end(half)
  await once(socket.resume(), 'close')
})

t.test('a command continues when its caller disconnects, and the server serves the next one', async t => {
  const dir = newFolder(t)
  let ended = () => {}
  let finish = () => {}
  const gone = new Promise<void>(resolve => { ended = resolve })
  const running = new Promise<void>(resolve => { finish = resolve })
  const ran: string[] = []
  await serve(t, dir, async ({ command }) => {
    if (command === 'long') {
      await running
      ran.push(command)
      ended()
    }
    return { ...ok, stdout: command }
  })
  const socket = connect(socketOf(dir))
  socket.write(post(JSON.stringify({ command: 'long', args: [] })))
  await once(socket, 'data')
  socket.destroy()
  await once(socket, 'close')
  t.equal((await callServer(dir, stats))?.stdout, 'tokens:stats')
  t.same(ran, [])
  finish()
  await gone
  t.equal((await callServer(dir, stats))?.stdout, 'tokens:stats')
})

t.test('an invalid or incomplete answer is reported as a clear error', async t => {
  const head = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n'
  const outcome = '{"exitCode":0,"stdout":"","stderr":""}'
  const cases: Array<[string, RegExp]> = [
    ['220 mail.example.com ESMTP\r\n', /is not the outcome of a command/],
    [`${outcome}\n`, /is not the outcome of a command/],
    [`${head}\r\n{"exitCode":"0"}`, /is not the outcome of a command/],
    [`${head}\r\n<p>${outcome}</p>`, /is not the outcome of a command/],
    ['HTTP/1.1 403 Forbidden\r\n\r\nit is Sunday', /refused the command: it is Sunday\./],
    ['HTTP/1.1 408 Request Timeout\r\n\r\n', /refused the command: Request Timeout\./],
    ['', /closed the connection before it accepted the command/],
    ['HTTP/1.1 200', /closed the connection before it accepted the command/],
    [`${head}content-length: 38\r\n\r\n${outcome.slice(0, 20)}`, /closed the connection before the command ended: what it did is unknown/],
    [`${head}transfer-encoding: chunked\r\n\r\n`, /closed the connection before the command ended: what it did is unknown/]
  ]
  for (const [answer, message] of cases) {
    const dir = newFolder(t)
    await listenAs(t, dir, socket => socket.once('data', () => socket.end(answer)))
    await t.rejects(callServer(dir, stats), { message }, answer || 'an end at once')
  }
})

t.test('closing cuts off the commands that are still running, and does not wait for them', async t => {
  const dir = newFolder(t)
  let started = () => {}
  const running = new Promise<void>(resolve => { started = resolve })
  const serving = await serveCommands(dir, async () => {
    started()
    return await new Promise<never>(() => {})
  })
  const call = callServer(dir, { command: 'endless', args: [] })
  await running
  await Promise.all([serving.close(), t.rejects(call, { message: /before the command ended/ })])
})

t.test('a path too long for a socket is reported, unless the path relative to the working folder fits', async t => {
  const long = join(newFolder(t), 'a'.repeat(60), 'b'.repeat(60))
  mkdirSync(long, { recursive: true })
  await t.rejects(serveCommands(long, async () => ok), { message: /bytes, and a unix socket's may have 103: choose a DATA_DIR/ })

  const before = process.cwd()
  process.chdir(long)
  t.teardown(() => process.chdir(before))
  const serving = await serveCommands(long, async () => ok)
  t.equal(statSync(socketOf(long)).mode & 0o777, 0o600)
  t.same(await callServer(long, stats), ok)

  process.chdir(before)
  await serving.close()
  t.notOk(existsSync(socketOf(long)), 'removed, although the working folder has changed')
})

function newFolder (t: Test): string {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'latchkey-')))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

function socketOf (dir: string): string {
  return join(dir, 'latchkey.sock')
}

async function serve (t: Test, dir: string, run: Parameters<typeof serveCommands>[1]): Promise<void> {
  const serving = await serveCommands(dir, run)
  t.teardown(() => serving.close())
}

function post (body: string): string {
  return `POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}

/** What a server answers, until it disconnects, to bytes that our own client would never send. */
async function sendRaw (dir: string, bytes: string): Promise<string> {
  const socket = connect(socketOf(dir))
  let answer = ''
  socket.on('data', chunk => { answer += String(chunk) })
  socket.write(bytes)
  await once(socket, 'close')
  return answer
}

/** Listens where a server would. */
async function listenAs (t: Test, dir: string, onConnection: (socket: Socket) => void): Promise<void> {
  const server = createServer(socket => {
    socket.on('error', () => {})
    onConnection(socket)
  })
  server.listen(socketOf(dir))
  await once(server, 'listening')
  t.teardown(() => { server.close() })
}
