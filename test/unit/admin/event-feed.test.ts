/** Events of several nodes as one list, each once. */

import { expect, it } from 'vitest'
import { EventFeed } from '../../../src/admin/event-feed.ts'
import { mergedMetrics } from '../../../src/admin/merged-metrics.ts'
import type { EventMessage, ListEventsReply } from '../../../src/wire/admin-observability.ts'

function reply(
  nodeId: string,
  incarnation: string,
  ...events: [id: number, timeMs: number][]
): ListEventsReply {
  const about = { nodeId, kind: 'job.failed', severity: 'error', message: '', details: '{}', count: 1 }
  return {
    nodeId,
    incarnation,
    events: events.map(([id, timeMs]) => ({ ...about, id, timeMs, lastMs: timeMs })),
  }
}

const names = (events: readonly EventMessage[]) => events.map(({ nodeId, id }) => `${nodeId}/${id}`)

it('puts the events of all nodes in order of time, and asks for what comes after them', () => {
  const feed = new EventFeed({ withinMs: 600_000, kinds: ['job'] })
  expect(feed.requestFor('a')).toEqual({ afterId: 0, withinMs: 600_000, kinds: ['job'] })
  const first = feed.take([reply('b', 'x', [1, 50], [2, 20]), reply('a', 'x', [7, 30], [9, 50])])
  expect(names(first)).toEqual(['b/2', 'a/7', 'a/9', 'b/1'])
  expect(feed.requestFor('a')).toEqual({ afterId: 9, withinMs: 0, kinds: ['job'] })
  expect(feed.take([reply('a', 'x')])).toEqual([])
  expect(feed.requestFor('a').afterId).toBe(9)
  expect(feed.requestFor('c').withinMs).toBe(600_000)
})

it('asks a process that started anew for all of its events', () => {
  const feed = new EventFeed({ withinMs: 0, kinds: [] })
  feed.take([reply('a', 'old', [40, 1])])
  // Those up to 40 are not in this answer.
  expect(feed.take([reply('a', 'new', [41, 9])])).toEqual([])
  expect(feed.requestFor('a').afterId).toBe(0)
  expect(names(feed.take([reply('a', 'new', [1, 5], [41, 9])]))).toEqual(['a/1', 'a/41'])
})

it('hands out each event once, also of an address of which nobody can tell whose it is', () => {
  const feed = new EventFeed({ withinMs: 0, kinds: [] })
  expect(feed.requestFor('').afterId).toBe(0)
  expect(names(feed.take([reply('a', 'x', [1, 5])]))).toEqual(['a/1'])
  expect(feed.requestFor('').afterId).toBe(0)
  expect(names(feed.take([reply('a', 'x', [1, 5], [2, 6])]))).toEqual(['a/2'])
  expect(feed.take([reply('a', 'x', [1, 5], [2, 6])])).toEqual([])
})

it('merges figures family by family, each with its node', () => {
  const family = (value: number) => [
    { name: 'f', type: 'gauge', help: 'F.', samples: [{ labels: { r: 'x' }, value }] },
  ]
  const merged = mergedMetrics([
    { nodeId: 'b', incarnation: '', families: family(2) },
    { nodeId: 'a', incarnation: '', families: family(1) },
  ])
  expect(merged).toEqual([
    {
      ...family(0)[0],
      samples: [
        { labels: { node: 'a', r: 'x' }, value: 1 },
        { labels: { node: 'b', r: 'x' }, value: 2 },
      ],
    },
  ])
})
