/** The bench of restarts, small: what comes over the network is what changed. Times are left to the bench. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { parseOptions } from '../../bench/restart/options.ts'
import { measureRestarts } from '../../bench/restart.ts'

it('a node that restarts with its snapshots takes a twentieth of a full copy when 1 % changed, and no read finds nothing', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ringcache-restart-'))
  try {
    const words =
      '--entries 20000 --value-bytes 1000 --partitions 64 --rest 0.2 --reads 300 --interval 3 --port-base 7930'
    const options = parseOptions(words.split(' '))
    if (options === 'help') throw new Error('no help was asked for')
    const { warm, cold, bytesShare, phases } = await measureRestarts(folder, options)
    expect(warm.toBytes).toBeGreaterThan((20_000 / 100) * 1000)
    expect(cold.toBytes).toBeGreaterThan(20_000 * 1000)
    expect(bytesShare).toBeLessThan(0.05)
    expect(phases.map(({ name, misses }) => [name, misses])).toEqual(phases.map(({ name }) => [name, 0]))
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}, 110_000)
