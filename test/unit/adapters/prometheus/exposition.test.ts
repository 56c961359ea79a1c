/** Figures as Prometheus reads them. */

import { expect, it } from 'vitest'
import { prometheusText } from '../../../../src/adapters/prometheus/exposition.ts'

it('writes each family once, with its help, type and samples', async () => {
  const text = await prometheusText([
    {
      name: 'ringcache_region_hits_total',
      type: 'counter',
      help: 'Reads that found an entry.',
      samples: [
        { labels: { node: 'node1', region: 'a "b"\n\\c' }, value: 3 },
        { labels: { node: 'node2', region: 'default' }, value: 0 },
      ],
    },
    { name: 'ringcache_entries', type: 'gauge', help: 'Entries.', samples: [{ labels: {}, value: 1.5 }] },
  ])
  expect(text).toBe(
    [
      '# HELP ringcache_region_hits_total Reads that found an entry.',
      '# TYPE ringcache_region_hits_total counter',
      'ringcache_region_hits_total{node="node1",region="a \\"b\\"\\n\\\\c"} 3',
      'ringcache_region_hits_total{node="node2",region="default"} 0',
      '',
      '# HELP ringcache_entries Entries.',
      '# TYPE ringcache_entries gauge',
      'ringcache_entries 1.5',
      '',
    ].join('\n'),
  )
})

it('keeps nothing from one text to the next', async () => {
  const one = { name: 'ringcache_entries', type: 'gauge', help: 'Entries.' } as const
  await prometheusText([{ ...one, samples: [{ labels: { node: 'a' }, value: 1 }] }])
  const text = await prometheusText([{ ...one, samples: [{ labels: { node: 'b' }, value: 2 }] }])
  expect(text).not.toContain('"a"')
})
