/** The command itself: its JSON document, its exit codes, and that a wrong value makes it fail. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { findAvailable } from '../../bench/peers/availability.ts'
import { PEER_NAMES } from '../../bench/peers/peer.ts'
import type { Report } from '../../bench/peers/report.ts'
import { run } from '../../bench/peers.ts'
import type { RebalanceReport } from '../../bench/rebalance/report.ts'
import { run as runRebalance } from '../../bench/rebalance.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringcache-bench-test-'))
const { available } = await findAvailable(PEER_NAMES, true)
const others = (['ioredis-cluster', 'memjs'] as const).filter((name) => available.includes(name))
vi.spyOn(console, 'log').mockReturnValue()
const errors = vi.spyOn(console, 'error').mockReturnValue()

afterAll(() => rmSync(folder, { recursive: true }))

describe('bench peers', () => {
  it.skipIf(others.length === 0)('writes cells, ratios and versions as documented', async () => {
    const file = join(folder, 'report.json')
    const size = ['--seconds', '0.1', '--keys', '1000', '--concurrency', '4', '--port-base', '7700']
    const code = await run([
      ...['--against', others.join(','), '--workload', 'B', '--workload', 'mget100'],
      ...[...size, '--json', file],
    ])
    expect(code).toBe(0)
    const report = JSON.parse(readFileSync(file, 'utf8')) as Report
    const measured = available.filter(
      (name) => name === 'ringcache' || others.some((other) => other === name),
    )
    expect(report.cells.map((cell) => [cell.workload, cell.concurrency, cell.peer])).toEqual(
      ['B', 'mget100'].flatMap((workload) => measured.map((peer) => [workload, 4, peer])),
    )
    for (const cell of report.cells) {
      expect(cell.passes).toHaveLength(2)
      for (const figure of [cell.opsPerSecond, cell.p50Us, cell.p99Us, cell.p999Us, cell.clientCpuUsPerOp]) {
        expect(figure).toBeGreaterThan(0)
      }
      expect(cell.p50Us).toBeLessThanOrEqual(cell.p99Us)
      expect(cell.p99Us).toBeLessThanOrEqual(cell.p999Us)
      expect(cell.serverCpuUsPerOp).toBeGreaterThanOrEqual(0)
    }
    const pairs = available.includes('ringcache') ? others.length * 2 : 0
    expect(report.ratios).toHaveLength(pairs)
    for (const ratio of report.ratios) {
      expect(ratio.throughput).toBeGreaterThan(0)
      expect(ratio.p50).toBeGreaterThan(0)
    }
    expect(report.versions['node']).toBe(process.version)
    if (others.includes('ioredis-cluster')) {
      expect(report.versions['ioredis']).toMatch(/^\d+\./)
      expect(report.versions['redis-server']).toMatch(/^\d+\./)
    }
  })

  it.each([
    [['--workload', 'D'], /choose of A, B, C/],
    [['--against', 'redis'], /choose of ioredis-cluster/],
    [['--seconds', 'long'], /--seconds long/],
    [['--concurrency', '1.5'], /whole number/],
    [['--fast'], /--fast/],
  ])('refuses %j and says what is allowed', async (args, message) => {
    errors.mockClear()
    expect(await run(args)).toBe(2)
    expect(String(errors.mock.calls[0]?.[0])).toMatch(message)
  })
})

describe('bench rebalance', () => {
  it('grows a cluster to five nodes and back, and names the limits that do not hold', {
    timeout: 120_000,
  }, async () => {
    const file = join(folder, 'rebalance.json')
    const size = ['--entries', '2000', '--partitions', '16', '--rate', '500', '--seconds', '0.5']
    const code = await runRebalance([...size, '--port-base', '7960', '--move-timeout', '60', '--json', file])
    const report = JSON.parse(readFileSync(file, 'utf8')) as RebalanceReport
    expect(report.phases.map(({ name }) => name)).toEqual([
      ...['warm-up', 'before', 'start', 'grow', 'five', 'shrink', 'after'],
    ])
    expect(report.errors).toEqual({})
    for (const phase of report.phases) expect(phase.p50Us).toBeLessThanOrEqual(phase.p99Us)
    const [grow, shrink] = report.moves
    expect(grow?.loads).toHaveLength(5)
    expect(shrink?.loads.map(({ copies }) => copies)).toEqual([16, 16, 16])
    for (const move of report.moves) {
      expect(move.isWell).toBe(true)
      expect(move.moved.copies).toBeGreaterThanOrEqual(move.ideal.copies * 0.8)
    }
    expect(code).toBe(report.broken.length === 0 ? 0 : 1)
  })

  it('refuses wrong arguments', async () => {
    errors.mockClear()
    expect(await runRebalance(['--load', '2'])).toBe(2)
    expect(String(errors.mock.calls[0]?.[0])).toMatch(/--load 2: give a number from 0.01 to 1/)
  })
})
