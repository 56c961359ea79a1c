import { deepStrictEqual } from 'node:assert/strict'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromTaggedJson, NO_FORM, toTaggedJson } from '../../../../src/admin/export/tagged-json.ts'

function textOf(value: unknown): string {
  const json = toTaggedJson(value)
  return json === NO_FORM ? 'no form' : JSON.stringify(json)
}

const forms: readonly (readonly [unknown, string])[] = [
  [{ name: 'Ada', tags: [1, 2.5, null, true] }, '{"name":"Ada","tags":[1,2.5,null,true]}'],
  [undefined, '{"$undefined":true}'],
  [[undefined, { a: undefined }], '[{"$undefined":true},{"a":{"$undefined":true}}]'],
  [
    [Number.NaN, -0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
    '[{"$number":"NaN"},{"$number":"-0"},{"$number":"Infinity"},{"$number":"-Infinity"}]',
  ],
  [-(2n ** 70n), '{"$bigint":"-1180591620717411303424"}'],
  [new Date(0), '{"$date":"1970-01-01T00:00:00.000Z"}'],
  [new Date(-8.64e15), '{"$date":"-271821-04-20T00:00:00.000Z"}'],
  [new Map<unknown, unknown>([[{ k: 1 }, new Set([1n])]]), '{"$map":[[{"k":1},{"$set":[{"$bigint":"1"}]}]]}'],
  [Buffer.from('hey'), '{"$buffer":"aGV5"}'],
  [new Uint8Array([1, 2]), '{"$bytes":"AQI="}'],
  [new Float32Array([1.5]), '{"$Float32Array":"AADAPw=="}'],
  [new Uint8Array([7]).buffer, '{"$ArrayBuffer":"Bw=="}'],
  [new DataView(new Uint8Array([7]).buffer), '{"$DataView":"Bw=="}'],
  [{ $date: 1 }, '{"$$date":1}'],
  [{ $$date: { $any: new Date(1) } }, '{"$$$date":{"$$any":{"$date":"1970-01-01T00:00:00.001Z"}}}'],
  [{ $gt: 1, $lt: 2 }, '{"$gt":1,"$lt":2}'],
  [JSON.parse('{"__proto__":{"a":1}}'), '{"__proto__":{"a":1}}'],
  ['half \ud800', '"half \\ud800"'],
]

/** Besides the scalars that a property names itself. */
const SCALARS: readonly fc.Arbitrary<unknown>[] = [
  fc.boolean(),
  fc.integer(),
  fc.double(),
  fc.string({ unit: 'binary' }),
  fc.constantFrom(null, undefined, -0, Number.NaN),
]

describe('values in JSON', () => {
  for (const [value, text] of forms) {
    it(`${text} is written and read`, () => {
      expect(textOf(value)).toBe(text)
      deepStrictEqual(fromTaggedJson(JSON.parse(text)), value)
    })
  }

  it('keeps an invalid date', () => {
    expect(textOf(new Date(Number.NaN))).toBe('{"$date":null}')
    expect(fromTaggedJson({ $date: null })).toEqual(new Date(Number.NaN))
  })

  it('keeps a view aligned and within its buffer', () => {
    const view = new Float64Array(new Float64Array([1, 2, 3]).buffer, 8, 1)
    deepStrictEqual(fromTaggedJson(JSON.parse(textOf(view))), new Float64Array([2]))
  })

  it('has no form for what JSON can not show', () => {
    const shared = {}
    const cycle: unknown[] = []
    cycle.push(cycle)
    let deep: unknown[] = []
    for (let i = 0; i < 10_000; i++) deep = [deep]
    // biome-ignore lint/suspicious/noSparseArray: it is the case
    for (const value of [[shared, shared], cycle, deep, [1, , 3], /x/, new Error('x'), { f: () => {} }])
      expect(textOf(value)).toBe('no form')
  })

  it('whatever has a form comes back from it', () => {
    const anything = fc.anything({
      withBigInt: true,
      withMap: true,
      withSet: true,
      withTypedArray: true,
      withNullPrototype: false,
      stringUnit: 'binary',
      maxDepth: 4,
      values: [...SCALARS, fc.date({ noInvalidDate: true })],
      key: fc.oneof(fc.constantFrom('$date', '$$x', '$map', '__proto__', 'a'), fc.string()),
    })
    let withForm = 0
    fc.assert(
      fc.property(anything, (value) => {
        const text = textOf(value)
        if (text === 'no form') return
        withForm++
        deepStrictEqual(fromTaggedJson(JSON.parse(text)), value)
      }),
      { numRuns: 3000 },
    )
    expect(withForm).toBeGreaterThan(2500)
  })

  const wrong: readonly (readonly [unknown, string])[] = [
    [{ $dat: 1 }, '{"$$dat": …}'],
    [{ $number: 1 }, '$number is "NaN"'],
    [{ $bigint: '1x' }, '$bigint is a text of digits'],
    [{ $date: 'yesterday' }, '$date is a time'],
    [{ $date: 5 }, '$date is a time'],
    [{ $map: [[1]] }, '$map is an array of [key, value]'],
    [{ $set: {} }, '$set is an array'],
    [{ $bytes: 'a' }, '$bytes is no base64'],
    [{ $Float64Array: 'AAA=' }, 'no whole number of elements'],
    [{ $constructor: '' }, 'is no tag'],
  ]
  for (const [json, message] of wrong) {
    it(`refuses ${JSON.stringify(json)}`, () => {
      expect(() => fromTaggedJson(json)).toThrow(message)
    })
  }

  it('refuses nesting that no export writes', () => {
    expect(() => fromTaggedJson(JSON.parse(`${'['.repeat(5000)}${']'.repeat(5000)}`))).toThrow('deeper than')
  })
})
