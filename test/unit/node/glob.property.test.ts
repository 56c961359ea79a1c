import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { matchesGlob } from '../../../src/node/glob.ts'

const encoder = new TextEncoder()

function matches(pattern: string, key: string): boolean {
  const p = encoder.encode(`<${pattern}>`)
  const k = encoder.encode(`(${key})`)
  return matchesGlob(p, 1, p.length - 1, k, 1, k.length - 1)
}

/** The same as a regular expression, for ASCII. */
function asRegex(pattern: string): RegExp {
  let source = ''
  for (let i = 0; i < pattern.length; i++) {
    const char = pattern[i] as string
    if (char === '*') source += '[^]*'
    else if (char === '?') source += '[^]'
    else if (char === '\\' && i + 1 < pattern.length) source += escaped(pattern[++i] as string)
    else if (char === '[') {
      const close = pattern.indexOf(']', i + 2)
      if (close < 0) {
        source += '\\['
        continue
      }
      const inner = pattern.slice(i + 1, close)
      const negated = inner.startsWith('^')
      let set = ''
      for (let at = negated ? 1 : 0; at < inner.length; at++) {
        if (at + 2 < inner.length && inner[at + 1] === '-') {
          const [low, high] = [inner[at] as string, inner[at + 2] as string]
          if (low <= high) set += `${escaped(low)}-${escaped(high)}`
          at += 2
        } else set += escaped(inner[at] as string)
      }
      source += negated ? `[^${set}]` : set === '' ? '[]' : `[${set}]`
      i = close
    } else source += escaped(char)
  }
  return new RegExp(`^${source}$`)
}

function escaped(char: string): string {
  return `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`
}

const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c', ':', '-', '^', ']'), maxLength: 12 })
const patterns = fc.string({
  unit: fc.constantFrom('a', 'b', 'c', '*', '*', '?', '[', ']', '^', '-', '\\', ':'),
  maxLength: 10,
})

describe('a glob pattern', () => {
  it('matches what the same regular expression matches', () => {
    let matched = 0
    fc.assert(
      fc.property(patterns, letters, (pattern, key) => {
        const expected = pattern === '' || asRegex(pattern).test(key)
        if (expected) matched++
        expect(matches(pattern, key)).toBe(expected)
      }),
      { numRuns: 10_000 },
    )
    expect(matched).toBeGreaterThan(500)
  })

  it.each([
    ['', 'anything', true],
    ['user:*', 'user:1', true],
    ['user:*', 'users', false],
    ['*:1', 'user:1', true],
    ['h?llo', 'hello', true],
    ['h?llo', 'hüllo', true],
    ['h?llo', 'h🙂llo', true],
    ['h?llo', 'hllo', false],
    ['h[ae]llo', 'hallo', true],
    ['h[^e]llo', 'hello', false],
    ['[a-c]*', 'cat', true],
    ['\\*', '*', true],
    ['\\*', 'a', false],
    ['[', '[', true],
  ] as const)('%j and %j: %s', (pattern, key, expected) => {
    expect(matches(pattern, key)).toBe(expected)
  })

  it('with many stars takes no longer than pattern times key', () => {
    const pattern = `${'*a'.repeat(500)}b`
    const key = 'a'.repeat(1024)
    const startNs = process.hrtime.bigint()
    for (let i = 0; i < 20; i++) expect(matches(pattern, key)).toBe(false)
    // Backtracking would take longer than the universe has stood.
    expect(process.hrtime.bigint() - startNs).toBeLessThan(10_000_000_000n)
  })
})
