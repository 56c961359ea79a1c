import { describe, expect, it } from 'vitest'
import { CacheError } from '../../../src/kernel/errors.ts'
import { parseBytes, parseDurationMs } from '../../../src/kernel/units.ts'

describe('a duration', () => {
  it.each([
    [0, 0],
    [250, 250],
    [0.5, 0.5],
    ['0ms', 0],
    ['250ms', 250],
    ['30s', 30_000],
    ['1.5h', 5_400_000],
    ['5m', 300_000],
    ['7d', 604_800_000],
    [' 2 s ', 2000],
  ])('%j is %d ms', (text, ms) => {
    expect(parseDurationMs(text)).toBe(ms)
  })

  it.each([
    -1,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    '',
    '5',
    's',
    '1 hour',
    '-1s',
    '1e3ms',
    '1..5s',
    '1S',
    '1w',
  ])('%j is none', (text) => {
    expect(() => parseDurationMs(text, 'ttl')).toThrow(CacheError)
    expect(() => parseDurationMs(text, 'ttl')).toThrow(
      /^ttl is .*; give milliseconds as a number, or a text such as/,
    )
  })
})

describe('a size', () => {
  it.each([
    [0, 0],
    [1024, 1024],
    ['7b', 7],
    ['1kb', 1024],
    ['64mb', 64 * 1024 ** 2],
    ['64MB', 64 * 1024 ** 2],
    ['1.5gb', 1.5 * 1024 ** 3],
    ['0.3kb', 307],
  ])('%j is %d bytes', (text, bytes) => {
    expect(parseBytes(text)).toBe(bytes)
  })

  it.each([-1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, '', '5', 'mb', '1tb', '-1mb', '1k'])(
    '%j is none',
    (text) => {
      expect(() => parseBytes(text, 'size')).toThrow(/^size is .*; give bytes as a number, or a text such as/)
    },
  )
})
