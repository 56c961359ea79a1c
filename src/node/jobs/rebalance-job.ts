/**
 * Starts a rebalance where nodes hold more than their share: as an operator's `cluster rebalance` does, and like that it goes on by
 * itself (src/rebalance). Drained nodes stay drained, and a paused or running rebalance is left alone.
 */

import type { JobContext, JobKind, JobSpec } from '../../jobs/job-kind.ts'
import { CacheError } from '../../kernel/errors.ts'
import { progressOf } from '../../rebalance/progress.ts'
import { fullRing, ringChange } from '../../rebalance/ring-change.ts'
import type { ProposalEnd } from '../../topology/register/proposals.ts'
import type { Topology } from '../../topology/topology.ts'
import type { Transform } from '../../topology/transforms.ts'
import { copiesToBuild, plannedPlacement } from '../admin/views.ts'

const REBALANCE = 'rebalance'

export interface RebalanceJobPorts {
  topology(): Topology | undefined
  submit(change: Transform): Promise<ProposalEnd>
}

export function rebalanceJob({ topology, submit }: RebalanceJobPorts): JobKind {
  return {
    kind: REBALANCE,
    async run({ spec, isDryRun, check }: JobContext): Promise<string> {
      const threshold = thresholdOf(spec)
      const now = topology()
      if (now === undefined) throw new CacheError('NOT_READY', 'the node is still starting')
      const excess = excessOf(now)
      const found = `the fullest node holds ${Math.round(100 * excess)} % more than its share`
      const { state, copiesLeft, handoversLeft } = progressOf(now)
      if (state === 'paused') return `${found}; the rebalance is paused: nothing was started`
      if (copiesLeft + handoversLeft > 0) return `${found}; a rebalance is under way`
      if (excess <= threshold) return `${found}: nothing to do`
      const target = fullRing(now, 'keep')
      const change = ringChange(now, target)
      if (change === undefined) return `${found}, as the ring wants it: nothing to do`
      const copies = copiesToBuild(now, plannedPlacement(now, target))
      if (isDryRun) return `${found}; would copy ${copies} partitions`
      check()
      const end = await submit(change)
      if (end.kind === 'committed') return `${found}; a rebalance was started: ${copies} partitions to copy`
      throw new CacheError(
        end.kind === 'expired' ? 'OUTCOME_UNKNOWN' : 'UNAVAILABLE',
        `a rebalance could not be started: ${end.kind === 'refused' ? end.reason : 'no majority of the nodes that vote answered'}`,
      )
    },
  }
}

/** By how much the fullest active node exceeds its share of all copies, by weight: 0.2 is a fifth more. */
function excessOf({ nodes, partitions, ring }: Topology): number {
  const drained = new Set(ring.nodes.filter(({ weight }) => weight === 0).map(({ nodeId }) => nodeId))
  const copies = nodes.map(() => 0)
  for (const { inSync } of partitions) for (const node of inSync) copies[node] = (copies[node] ?? 0) + 1
  let held = 0
  let weights = 0
  let fullest = 0
  nodes.forEach(({ nodeId, state, weight }, at) => {
    if (state !== 'active' || drained.has(nodeId)) return
    held += copies[at] ?? 0
    weights += weight
    fullest = Math.max(fullest, (copies[at] ?? 0) / weight)
  })
  return held === 0 ? 0 : fullest / (held / weights) - 1
}

function thresholdOf({ threshold }: JobSpec): number {
  if (typeof threshold === 'number' && threshold > 0) return threshold
  throw new CacheError('CONFIGURATION', 'rebalance needs a threshold above 0, such as 0.2')
}
