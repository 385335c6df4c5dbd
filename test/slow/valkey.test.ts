import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { alone, root } from '../fixtures/programs.js'
import { isInstalled } from '../fixtures/servers.js'

t.test('Valkey works in place of Redis: one server, a master that Sentinels watch, a cluster', {
  skip: isInstalled('valkey-server') ? false : 'needs valkey-server in PATH',
  timeout: 580_000
}, async t => {
  const files = ['test/redis/server.test.ts', 'test/slow/redis-sets.test.ts', 'test/revocation/revocation.test.ts']
  const kept = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(TAP|NODE_OPTIONS|_TAPJS)/.test(name))
    .map(([name, value]) => [name, value ?? '']))
  const { stdout, code } = await promisify(execFile)(
    ...alone({ ...kept, TEST_REDIS_SERVER: 'valkey-server' }, 'npx', 'tap', ...files, '--reporter=tap', '--timeout=280'),
    { cwd: root, maxBuffer: 64 * 1024 * 1024 }
  )
    .then(ended => ({ ...ended, code: 0 }), (error: { stdout: string, code: number }) => error)
  t.equal(code, 0, failuresIn(stdout))
  t.match(stdout, /^# \{ total: \d+, pass: \d+ \}/m, 'with its totals')
})

/** Each failed check with its details, innermost first, cut to fit a report. */
function failuresIn (output: string): string {
  const lines = output.split('\n')
  const failed = lines.flatMap((line, index) => /^ *not ok/.test(line) ? [lines.slice(index, index + 25).join('\n')] : [])
  return failed.slice(0, 3).join('\n')
}
