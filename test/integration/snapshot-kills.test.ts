import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, it } from 'vitest'
import { runKills } from '../chaos/kills/kill-run.ts'

it('nodes killed at random moments of their snapshots list no damaged one, and lose no more than stated', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ringcache-kills-'))
  try {
    const build = resolve(import.meta.dirname, '../..')
    const report = await runKills({ kills: 3, seed: 2, firstPort: 7890, folder, build, still: 300 })
    expect(report.problems).toEqual([])
    expect(report.kills).toBeGreaterThanOrEqual(3)
    expect(report.acknowledged).toBeGreaterThan(100)
    expect(report.audited).toBeGreaterThan(2)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}, 90_000)
