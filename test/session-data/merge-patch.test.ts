import t from 'tap'
import { mergePatch } from '../../src/session-data/merge-patch.js'

t.test('every example of RFC 7396, appendix A', async t => {
  for (const [target, patch, result] of [
    ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
    ['{"a":"b"}', '{"a":null}', '{}'],
    ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
    ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
    ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
    ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
    ['["a","b"]', '["c","d"]', '["c","d"]'],
    ['{"a":"b"}', '["c"]', '["c"]'],
    ['{"a":"foo"}', 'null', 'null'],
    ['{"a":"foo"}', '"bar"', '"bar"'],
    ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'],
    ['[1,2]', '{"a":"b","c":null}', '{"a":"b"}'],
    ['{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}']
  ] as const) t.equal(JSON.stringify(mergePatch(JSON.parse(target), JSON.parse(patch))), result, `${target} and ${patch}`)
})

t.test('V15.3.6 a member of any name, __proto__ too, is a member and nothing else', async t => {
  for (const name of ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'length', '0']) {
    const patch = JSON.parse(`{"${name}":{"polluted":true}}`)
    const merged = mergePatch(JSON.parse(`{"a":{"${name}":{"kept":true}}}`), { a: patch }) as object
    t.equal(JSON.stringify(merged), `{"a":{"${name}":{"kept":true,"polluted":true}}}`, name)
    t.equal(JSON.stringify(mergePatch({}, patch)), `{"${name}":{"polluted":true}}`, name)
  }
  t.equal(({} as { polluted?: boolean }).polluted, undefined)
})

t.test('what it is given stays as it is', async t => {
  const target = { a: { b: 1 }, c: [1] }
  const patch = { a: { d: 2 } }
  t.same(mergePatch(target, patch), { a: { b: 1, d: 2 }, c: [1] })
  t.same([target, patch], [{ a: { b: 1 }, c: [1] }, { a: { d: 2 } }])
})
