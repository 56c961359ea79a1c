/** Changes of what belongs to the whole cluster: voters, the ring, placement groups and regions. */

import type { RegionId } from '../kernel/ids.ts'
import { type Outcome, refuse } from './outcome.ts'
import { firstPartitions, placeAsBefore, placeOnRing, wantedPlacement } from './placement.ts'
import {
  GROUPS_MAX,
  isWeight,
  PARTITIONS_MAX,
  REGION_ID_END,
  REGIONS_MAX,
  VOTERS_MAX,
} from './record-codec.ts'
import type { GroupRecord, RegionRecord, RingNode, Topology, VoterRecord } from './topology.ts'
import type { Transform } from './transforms.ts'

export type ClusterTransform = Extract<
  Transform,
  {
    kind:
      | 'VoterAdded'
      | 'VoterRemoved'
      | 'RingChanged'
      | 'RingPaused'
      | 'GroupCreated'
      | 'RegionCreated'
      | 'RegionAltered'
      | 'RegionDropped'
  }
>

export function applyToCluster(topology: Topology, transform: ClusterTransform): Outcome {
  const { regions, ring, voters } = topology
  switch (transform.kind) {
    case 'VoterAdded':
      return addVoter(topology, transform.voter)
    case 'VoterRemoved': {
      const others = voters.filter(
        ({ nodeId, diskId }) => nodeId !== transform.nodeId || diskId !== transform.diskId,
      )
      if (others.length === voters.length) return refuse(`${transform.nodeId} does not vote with that disk`)
      return others.length === 0 ? refuse('nobody would vote') : { ...topology, voters: others }
    }
    case 'RingChanged':
      return changeRing(topology, transform.expected, transform.nodes)
    case 'RingPaused':
      if (ring.paused === transform.paused) return refuse('the rebalance is in that state already')
      return { ...topology, ring: { ...ring, paused: transform.paused } }
    case 'GroupCreated':
      return createGroup(topology, transform.group)
    case 'RegionCreated':
      return createRegion(topology, transform.region)
    case 'RegionAltered': {
      const { region } = transform
      const known = regions.find(({ regionId }) => regionId === region.regionId)
      if (known === undefined) return refuse(`there is no region ${region.regionId}`)
      if (known.name !== region.name || known.group !== region.group)
        return refuse(`region ${known.name} can change neither its name nor its group`)
      return { ...topology, regions: regions.map((one) => (one === known ? region : one)) }
    }
    case 'RegionDropped': {
      const others = regions.filter(({ regionId }) => regionId !== transform.regionId)
      if (others.length === regions.length) return refuse(`there is no region ${transform.regionId}`)
      return { ...topology, regions: others }
    }
  }
}

function addVoter(topology: Topology, voter: VoterRecord): Outcome {
  const { nodes, voters } = topology
  const node = nodes.find(({ nodeId, state }) => nodeId === voter.nodeId && state === 'active')
  if (node === undefined || node.diskId !== voter.diskId || voter.diskId === '')
    return refuse(`${voter.nodeId} is no active node with that disk`)
  if (voters.some(({ nodeId }) => nodeId === voter.nodeId)) return refuse(`${voter.nodeId} votes already`)
  if (voters.length >= VOTERS_MAX) return refuse(`there are ${VOTERS_MAX} voters, no more are allowed`)
  return { ...topology, voters: [...voters, voter] }
}

function changeRing(topology: Topology, expected: readonly RingNode[], nodes: readonly RingNode[]): Outcome {
  const { ring } = topology
  if (!isSameRing(ring.nodes, expected)) return refuse('the ring has changed since')
  if (isSameRing(ring.nodes, nodes)) return refuse('the ring is so already')
  const names = new Set(topology.nodes.filter(({ state }) => state !== 'gone').map(({ nodeId }) => nodeId))
  const unknown = nodes.find(({ nodeId }) => !names.has(nodeId))
  if (unknown !== undefined) return refuse(`${unknown.nodeId} is no member`)
  if (new Set(nodes.map(({ nodeId }) => nodeId)).size < nodes.length)
    return refuse('the ring names a node twice')
  if (nodes.some(({ weight }) => weight !== 0 && !isWeight(weight))) return refuse('a weight is out of range')
  if (nodes.every(({ weight }) => weight === 0)) return refuse('the ring would be empty')
  const { groups } = topology
  // Going back wants exactly what was there.
  const placement =
    placeAsBefore(nodes, { nodes: ring.previous, placement: ring.previousPlacement }) ??
    placeOnRing(nodes, groups, { nodes: ring.nodes, placement: ring.placement })
  const changed = { nodes, placement, previous: ring.nodes, previousPlacement: ring.placement }
  return { ...topology, ring: { ...changed, paused: ring.paused } }
}

function isSameRing(a: readonly RingNode[], b: readonly RingNode[]): boolean {
  return (
    a.length === b.length &&
    a.every((node, i) => {
      const other = b[i] as RingNode
      return node.nodeId === other.nodeId && node.weight === other.weight && node.zone === other.zone
    })
  )
}

function createGroup(topology: Topology, created: Omit<GroupRecord, 'firstPartition'>): Outcome {
  const { groups, partitions } = topology
  const group: GroupRecord = { ...created, firstPartition: partitions.length }
  if (group.name === '' || groups.some(({ name }) => name === group.name))
    return refuse(`the group ${group.name} exists already`)
  if (groups.length >= GROUPS_MAX) return refuse(`there are ${GROUPS_MAX} groups, no more are allowed`)
  if (group.partitionCount < 1 || group.replicationFactor < 1) return refuse(`group ${group.name} is empty`)
  if (partitions.length + group.partitionCount > PARTITIONS_MAX)
    return refuse(`a cluster has ${PARTITIONS_MAX} partitions at most`)
  const { ring } = topology
  const added = placeOnRing(ring.nodes, [group]).slice(group.firstPartition)
  const before = placeOnRing(ring.previous, [group]).slice(group.firstPartition)
  const placement = [...ring.placement, ...added]
  const previousPlacement = [...ring.previousPlacement, ...before]
  const grown = { ...topology, groups: [...groups, group], ring: { ...ring, placement, previousPlacement } }
  const placed = wantedPlacement(grown).slice(partitions.length)
  const active = placed.map((places) => places.filter((node) => topology.nodes[node]?.state === 'active'))
  if (active.some((places) => places.length === 0)) return refuse('too few nodes of the ring are active')
  return { ...grown, partitions: [...partitions, ...firstPartitions(active)] }
}

function createRegion(topology: Topology, created: Omit<RegionRecord, 'regionId'>): Outcome {
  const { groups, regions, nextRegionId } = topology
  if (created.name === '' || regions.some(({ name }) => name === created.name))
    return refuse(`the region ${created.name} exists already`)
  if (!groups.some(({ name }) => name === created.group)) return refuse(`there is no group ${created.group}`)
  if (regions.length >= REGIONS_MAX) return refuse(`there are ${REGIONS_MAX} regions, no more are allowed`)
  if (nextRegionId >= REGION_ID_END) return refuse('all numbers of regions have been given')
  const region: RegionRecord = { ...created, regionId: nextRegionId as RegionId }
  return { ...topology, regions: [...regions, region], nextRegionId: nextRegionId + 1 }
}
