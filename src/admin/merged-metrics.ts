/** The figures of several nodes as one list of families, each sample with the node it is of. */

import type { GetMetricsReply, MetricFamilyMessage } from '../wire/admin-observability.ts'

export function mergedMetrics(replies: readonly GetMetricsReply[]): readonly MetricFamilyMessage[] {
  const merged = new Map<string, MetricFamilyMessage>()
  const inOrder = [...replies].sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
  for (const { nodeId, families } of inOrder) {
    for (const family of families) {
      const samples = family.samples.map(({ labels, value }) => ({
        labels: { node: nodeId, ...labels },
        value,
      }))
      const known = merged.get(family.name)
      merged.set(family.name, { ...family, samples: [...(known?.samples ?? []), ...samples] })
    }
  }
  return [...merged.values()]
}
