import { describe, expect, it } from 'vitest'
import { compareVersions } from '../../../src/kernel/ids.ts'

describe('versions', () => {
  it('are ordered by epoch first, then by sequence', () => {
    const [a, b, c] = [
      { partitionEpoch: 1, sequence: 9 },
      { partitionEpoch: 2, sequence: 1 },
      { partitionEpoch: 2, sequence: 2 },
    ] as const
    expect([c, a, b].sort(compareVersions)).toEqual([a, b, c])
    expect(compareVersions(b, { ...b })).toBe(0)
  })
})
