/** Counters and figures, as they are handed out, and the names that they may have. */

import { describe, expect, it } from 'vitest'
import { Counters, FamilyBuilder } from '../../../src/observability/metric-families.ts'
import { METRICS } from '../../../src/observability/metrics.ts'

describe('counters', () => {
  it('count by their labels', () => {
    const counters = new Counters()
    counters.add('ringcache_snapshots_total', { result: 'done' })
    counters.add('ringcache_snapshots_total', { result: 'done' }, 2)
    counters.add('ringcache_snapshots_total', { result: 'failed' })
    expect(counters.of('ringcache_snapshots_total')).toEqual([
      { labels: { result: 'done' }, value: 3 },
      { labels: { result: 'failed' }, value: 1 },
    ])
  })

  it('are bounded: what is beyond is counted together', () => {
    const counters = new Counters()
    for (let i = 0; i < 1000; i++) counters.add('ringcache_job_runs_missed_total', { kind: `kind ${i}` })
    const samples = counters.of('ringcache_job_runs_missed_total')
    expect(samples).toHaveLength(201)
    expect(samples.at(-1)).toEqual({ labels: { kind: 'other' }, value: 800 })
  })
})

describe('families', () => {
  it('come in the order of the catalogue, only those that have samples', () => {
    const builder = new FamilyBuilder()
    builder.set('ringcache_client_streams', 2)
    builder.set('ringcache_entries', 7)
    expect(builder.families().map(({ name, samples }) => [name, samples[0]?.value])).toEqual([
      ['ringcache_entries', 7],
      ['ringcache_client_streams', 2],
    ])
  })

  it('of counters begin at 0 where it is known what will be counted', () => {
    const builder = new FamilyBuilder()
    const counters = new Counters()
    counters.add('ringcache_snapshots_total', { result: 'failed' })
    builder.addAll(counters, [
      'ringcache_snapshots_total',
      'ringcache_snapshots_unusable_total',
      'ringcache_job_runs_total',
    ])
    const families = builder.families().map(({ name, samples }) => [name, samples])
    expect(families).toEqual([
      [
        'ringcache_snapshots_total',
        [
          { labels: { result: 'failed' }, value: 1 },
          { labels: { result: 'done' }, value: 0 },
        ],
      ],
      ['ringcache_snapshots_unusable_total', [{ labels: {}, value: 0 }]],
    ])
  })
})

describe.each(Object.entries(METRICS))('%s', (name, { type, unit, help, labels }) => {
  it('is named as Prometheus wants it', () => {
    expect(name).toMatch(/^ringcache_[a-z_]+$/)
    expect(name.endsWith('_total')).toBe(type === 'counter')
    expect(name.endsWith('_seconds')).toBe(unit.startsWith('seconds'))
    expect(name.endsWith('_bytes')).toBe(unit === 'bytes')
    expect(help).toMatch(/^[A-Za-z].*\.$/)
    expect(Object.keys(labels)).not.toContain('node')
  })
})
