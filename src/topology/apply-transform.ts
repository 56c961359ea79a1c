/**
 * What a named change makes of a topology. Pure and deterministic: whoever applies the same changes to the same record
 * gets the same record, byte for byte, so that voters need to agree on changes alone.
 *
 * A change whose expectations do not hold is refused and leaves the record as it was. One that names several partitions
 * applies where its expectations hold, and is refused when that is nowhere.
 */

import type { Epoch } from '../kernel/ids.ts'
import type { BrokenRules } from '../kernel/rule-switch.ts'
import { applyToCluster, type ClusterTransform } from './apply-cluster.ts'
import { applyToJobs, type JobTransform } from './apply-jobs.ts'
import { applyToNodes, type NodeTransform } from './apply-nodes.ts'
import { applyToPartitions, type PartitionTransform } from './apply-partitions.ts'
import { isRefused, type Outcome, type Refused, refuse } from './outcome.ts'
import type { Topology } from './topology.ts'
import type { Transform } from './transforms.ts'
import { lacksValidSet } from './validity.ts'

export { isRefused, type Outcome } from './outcome.ts'

type Recovered = Extract<Transform, { readonly kind: 'Recovered' }>

/** A commit: its record, and what became of each change. */
export interface Applied {
  /** One epoch later; the record given itself when nothing applied. */
  readonly topology: Topology
  /** How many of the changes applied. A commit in which none does is not to be proposed. */
  readonly applied: number
  /** Why a change was refused, by its place in the list; undefined for one that applied. */
  readonly refused: readonly (string | undefined)[]
}

/**
 * The record after one change, with the epoch as it was: `applyAll` raises it.
 * @param broken rules of the protocol that a test breaks
 */
export function applyTransform(topology: Topology, transform: Transform, broken?: BrokenRules): Outcome {
  switch (transform.kind) {
    case 'NodeJoined':
    case 'NodeRestarted':
    case 'NodeFailed':
    case 'NodeLeaving':
    case 'NodeRemoved':
      return applyToNodes(topology, transform satisfies NodeTransform, broken)
    case 'LearnerAdded':
    case 'LearnerDropped':
    case 'LearnerPromoted':
    case 'InSyncShrunk':
    case 'PrimaryMoved':
    case 'ReplicaRemoved':
    case 'Settled':
    case 'Recovered':
      return applyToPartitions(topology, transform satisfies PartitionTransform, broken)
    case 'JobDefined':
    case 'JobAltered':
    case 'JobDropped':
    case 'JobClaimed':
    case 'JobStarted':
    case 'JobTaken':
    case 'JobCancelled':
    case 'JobEnded':
    case 'JobMissed':
      return applyToJobs(topology, transform satisfies JobTransform)
    default:
      return applyToCluster(topology, transform satisfies ClusterTransform)
  }
}

/**
 * Applies the changes in turn and raises the epoch by one, if any applied. Voters change one at a time. A partition starts over only if it
 * lacked a valid set before the first of them, too: who asked for that may not have known of what is decided with it, and what
 * only fails now is waited for first.
 */
export function applyAll(
  topology: Topology,
  transforms: readonly Transform[],
  broken?: BrokenRules,
): Applied {
  let at = topology
  let votersChanged = false
  const refused: (string | undefined)[] = []
  for (const transform of transforms) {
    const changesVoters = transform.kind === 'VoterAdded' || transform.kind === 'VoterRemoved'
    const outcome: Topology | Refused =
      changesVoters && votersChanged
        ? refuse('voters change one at a time, an epoch each')
        : applyTransform(
            at,
            transform.kind === 'Recovered' ? lackingIn(topology, transform, broken) : transform,
            broken,
          )
    if (isRefused(outcome)) {
      refused.push(outcome.refused)
      continue
    }
    if (changesVoters) votersChanged = true
    refused.push(undefined)
    at = outcome
  }
  const applied = refused.filter((reason) => reason === undefined).length
  if (applied === 0) return { topology, applied, refused }
  return { topology: { ...at, epoch: (topology.epoch + 1) as Epoch }, applied, refused }
}

/** What it asks for of the partitions that lack a valid set in this record. */
function lackingIn(topology: Topology, transform: Recovered, broken: BrokenRules | undefined): Recovered {
  const partitions = transform.partitions.filter(({ partition }) => {
    const record = topology.partitions[partition]
    return record !== undefined && lacksValidSet(topology, record, broken)
  })
  return { ...transform, partitions }
}
