/** Which sets may take over: the rule as a table, and the schedules it exists for. */

import { describe, expect, it } from 'vitest'
import { applyAll, applyTransform, isRefused } from '../../../src/topology/apply-transform.ts'
import type { PartitionRecord, Topology, UnsettledSet } from '../../../src/topology/topology.ts'
import type { Transform } from '../../../src/topology/transforms.ts'
import { isBlocked, lacksValidSet, validInSync } from '../../../src/topology/validity.ts'
import { makeTopology, withPartition } from '../../support/topologies.ts'

const [A, B, C, D, E] = [0, 1, 2, 3, 4]

const set = (...members: number[]): UnsettledSet => ({ primary: members[0] as number, members })

describe('a new set', () => {
  it.each<[string, UnsettledSet[], number[], boolean]>([
    ['of nobody', [set(A)], [], false],
    ['with the primary', [set(A, B, C)], [A], true],
    ['of one backup of three', [set(A, B, C)], [B], false],
    ['of both backups of three', [set(A, B, C)], [B, C], true],
    ['of the one backup of two', [set(A, B)], [B], true],
    ['of two backups of four', [set(A, B, C, D)], [B, C], true],
    ['of one backup of four', [set(A, B, C, D)], [B], false],
    ['of two backups of five', [set(A, B, C, D, E)], [B, C], false],
    ['of three backups of five', [set(A, B, C, D, E)], [B, C, D], true],
    ['of strangers', [set(A)], [B, C, D], false],
    ['good for the present set, not for an earlier one', [set(A, B, C), set(A, B)], [B], false],
    ['good for both', [set(A, B, C), set(A, B)], [B, C], true],
    ['good for an earlier set through its primary alone', [set(C, A, B), set(A, B)], [B, C], true],
  ])('%s', (_, sets, members, valid) => {
    expect(validInSync(sets, members)).toBe(valid)
  })
})

/** Partition 0 of five nodes, replicas on A, B and C; A is its primary. */
const START = withPartition(makeTopology({ nodes: 5, partitions: 1 }), 0, { primary: A, inSync: [A, B, C] })

function partition(topology: Topology): PartitionRecord {
  return topology.partitions[0] as PartitionRecord
}

function commit(topology: Topology, ...transforms: Transform[]): Topology {
  const applied = applyAll(topology, transforms)
  expect(applied.refused).toEqual(transforms.map(() => undefined))
  return applied.topology
}

const at = (topology: Topology, node: number) => ({
  partition: 0,
  partitionEpoch: partition(topology).partitionEpoch,
  node,
})
const process = (topology: Topology, node: number) => {
  const { nodeId, incarnation } = topology.nodes[node] as Topology['nodes'][number]
  return { nodeId, incarnation }
}
const failed = (topology: Topology, node: number): Transform => {
  return { kind: 'NodeFailed', process: process(topology, node) }
}
const back = (topology: Topology, node: number): Transform => {
  return { kind: 'NodeJoined', node: topology.nodes[node] as Topology['nodes'][number] }
}

describe('a partition', () => {
  it('is not taken over by B when A acknowledged a write with C, C was removed and A died', () => {
    const shrunk = commit(START, { kind: 'InSyncShrunk', members: [at(START, C)] })
    expect(partition(shrunk)).toMatchObject({ inSync: [A, B], unsettled: [set(A, B, C)], partitionEpoch: 2 })
    // Nor together with C, once that one has failed, too.
    const dead = commit(shrunk, failed(shrunk, C), failed(shrunk, A))
    expect(partition(dead)).toEqual(partition(shrunk))
    expect(isBlocked(dead, partition(dead))).toBe(true)
    expect(lacksValidSet(dead, partition(dead))).toBe(true)
    // A returns with its memory: it goes on.
    const returned = commit(dead, back(dead, A))
    expect(isBlocked(returned, partition(returned))).toBe(false)
    expect(partition(returned)).toEqual(partition(shrunk))
  })

  it('is taken over by B and C together, while both are up', () => {
    const shrunk = commit(START, { kind: 'InSyncShrunk', members: [at(START, C)] })
    const dead = commit(shrunk, failed(shrunk, A))
    expect(partition(dead)).toMatchObject({
      primary: B,
      inSync: [B, C],
      unsettled: [set(A, B, C), set(A, B)],
      partitionEpoch: 3,
    })
    expect(isBlocked(dead, partition(dead))).toBe(false)
  })

  it('is taken over with whoever returns with what it holds', () => {
    // A is held dead, then B dies; C alone does not hold all, until A is back.
    const dead = commit(START, failed(START, A), failed(START, B))
    const { primary } = partition(dead)
    expect(lacksValidSet(dead, partition(dead))).toBe(true)
    const returned = commit(dead, back(dead, A))
    expect(lacksValidSet(returned, partition(returned))).toBe(false)
    expect([...partition(returned).inSync].sort()).toEqual([A, C])
    expect(isBlocked(returned, partition(returned))).toBe(false)
    // Where C led by then it goes on leading.
    if (primary === C) expect(partition(returned).primary).toBe(C)
  })

  it('brings nobody up anew who may be needed so', () => {
    const shrunk = commit(START, { kind: 'InSyncShrunk', members: [at(START, C)] })
    const learner: Transform = { kind: 'LearnerAdded', learners: [at(shrunk, C)] }
    expect(applyAll(shrunk, [learner]).applied).toBe(0)
    const settled = commit(shrunk, { kind: 'Settled', partitions: [at(shrunk, A)] })
    const learning = commit(settled, learner)
    // It holds nothing now that could be relied on.
    const dead = commit(learning, failed(learning, A), failed(learning, B))
    expect(lacksValidSet(dead, partition(dead))).toBe(true)
  })

  it('is taken over by B once that is settled', () => {
    const shrunk = commit(START, { kind: 'InSyncShrunk', members: [at(START, C)] })
    const settled = commit(shrunk, { kind: 'Settled', partitions: [at(shrunk, A)] })
    expect(partition(settled)).toMatchObject({ unsettled: [], partitionEpoch: 2 })
    const dead = commit(settled, failed(settled, A))
    expect(partition(dead)).toMatchObject({
      primary: B,
      inSync: [B],
      unsettled: [set(A, B)],
      partitionEpoch: 3,
    })
  })

  it('is held by a primary that took over and serves, though the sets before are not settled', () => {
    const dead = commit(START, failed(START, A))
    const { primary, inSync, unsettled } = partition(dead)
    expect([...inSync].sort()).toEqual([B, C])
    expect(unsettled).toEqual([set(A, B, C)])
    const other = primary === B ? C : B
    // Another verdict alone may not leave one of A, B, C.
    const both = commit(dead, failed(dead, other))
    expect(partition(both)).toEqual(partition(dead))
    expect(isBlocked(both, partition(both))).toBe(false)
    expect(lacksValidSet(both, partition(both))).toBe(true)
    // The primary itself may, for it holds what they held.
    const shrunk = commit(both, { kind: 'InSyncShrunk', members: [at(both, other)] })
    expect(partition(shrunk).inSync).toEqual([primary])
    expect(partition(shrunk).unsettled.map((one) => one.primary)).toEqual([primary, primary])
  })

  it('leaves out those that failed when the return of another makes that valid', () => {
    // X (here D) was primary before; B and C are left of it.
    const start = withPartition(START, 0, { unsettled: [{ primary: D, members: [D, B, C] }] })
    const dead = commit(start, failed(start, D), failed(start, A), failed(start, B))
    // Without A, B and C had to hold D's set: B failed then, so B stays.
    expect(partition(dead).inSync).toContain(B)
    const returned = commit(dead, back(dead, B))
    expect(partition(returned).inSync).not.toContain(A)
    expect(isBlocked(returned, partition(returned))).toBe(false)
  })

  it('can start over only when no valid set is left, from a member that survived if there is one', () => {
    const recover = (topology: Topology, node: number): Transform => {
      return { kind: 'Recovered', partitions: [at(topology, node)] }
    }
    expect(applyAll(START, [recover(START, A)]).applied).toBe(0)
    const dead = commit(START, failed(START, A), failed(START, B))
    expect(isBlocked(dead, partition(dead)) || lacksValidSet(dead, partition(dead))).toBe(true)
    expect(applyAll(dead, [recover(dead, D)]).applied).toBe(0)
    expect(applyAll(dead, [recover(dead, A)]).applied).toBe(0)
    const recovered = commit(dead, recover(dead, C))
    const { partitionEpoch } = partition(dead)
    expect(partition(recovered)).toEqual({
      partitionEpoch: partitionEpoch + 1,
      primary: C,
      inSync: [C],
      learners: [],
      unsettled: [],
      recoveredAt: partitionEpoch + 1,
    })
    // All members gone: any node that is up.
    const all = commit(dead, failed(dead, C))
    expect(partition(commit(all, recover(all, D)))).toMatchObject({ primary: D, inSync: [D] })
  })
})

describe('starting over, asked for before something else was decided', () => {
  const recover = (topology: Topology, node: number): Transform => {
    return { kind: 'Recovered', partitions: [at(topology, node)] }
  }

  it('waits when the last valid set is lost in the same commit', () => {
    const { topology, refused } = applyAll(START, [failed(START, A), failed(START, B), recover(START, C)])
    expect(refused[2]).toBeDefined()
    expect(partition(topology).recoveredAt).toBe(partition(START).recoveredAt)
    expect(applyAll(topology, [recover(topology, C)]).applied).toBe(1)
  })

  it('takes nobody but the primary once that is back', () => {
    const start = withPartition(START, 0, { unsettled: [{ primary: D, members: [D, B, C] }] })
    const dead = commit(start, failed(start, D), failed(start, B))
    expect(lacksValidSet(dead, partition(dead))).toBe(true)
    expect(applyAll(dead, [recover(dead, C)]).applied).toBe(0)
    expect(applyAll(dead, [recover(dead, A)]).applied).toBe(1)
  })
})

describe('a change that names what no longer is', () => {
  const shrunk = commit(START, { kind: 'InSyncShrunk', members: [at(START, C)] })
  const learning = commit(
    START,
    { kind: 'LearnerAdded', learners: [at(START, D)] },
    { kind: 'InSyncShrunk', members: [at(START, C)] },
  )
  const later = commit(START, {
    kind: 'NodeRestarted',
    old: process(START, A),
    node: { ...(START.nodes[A] as Topology['nodes'][number]), incarnation: 'later' as never },
  })
  it.each<[string, Topology, Transform]>([
    ['a death of an earlier process', later, failed(START, A)],
    ['a return of an earlier process', later, back(START, A)],
    ['a member of an earlier epoch', shrunk, { kind: 'InSyncShrunk', members: [at(START, B)] }],
    ['the primary itself', START, { kind: 'InSyncShrunk', members: [at(START, A)] }],
    [
      'a partition that does not exist',
      START,
      { kind: 'Settled', partitions: [{ ...at(START, A), partition: 9 }] },
    ],
    ['what is settled', START, { kind: 'Settled', partitions: [at(START, A)] }],
    [
      'a promotion before it is settled',
      learning,
      { kind: 'LearnerPromoted', learners: [{ ...at(learning, D), session: 2 as never }] },
    ],
    ['a removal before it is settled', shrunk, { kind: 'ReplicaRemoved', replicas: [at(shrunk, B)] }],
    ['a primary that is not in sync', START, { kind: 'PrimaryMoved', moves: [at(START, D)] }],
    ['a learner that is in sync', START, { kind: 'LearnerAdded', learners: [at(START, B)] }],
    ['a voter with another disk', START, { kind: 'VoterRemoved', nodeId: 'n0' as never, diskId: 'x' }],
    [
      'a ring that has changed since',
      START,
      { kind: 'RingChanged', expected: [], nodes: START.ring.nodes.slice(1) },
    ],
  ])('%s does nothing', (_, topology, transform) => {
    expect(isRefused(applyTransform(topology, transform))).toBe(true)
    expect(applyAll(topology, [transform])).toMatchObject({ topology, applied: 0 })
  })

  it('hands the primary role on within the set, settled or not: a takeover stuck without the longest log needs it', () => {
    const { topology } = applyAll(shrunk, [{ kind: 'PrimaryMoved', moves: [at(shrunk, B)] }])
    expect(topology.partitions[0]).toMatchObject({ primary: B, inSync: [B, A] })
    expect(topology.partitions[0]?.unsettled).toHaveLength(2)
  })

  it('does nothing beside others that apply', () => {
    const { topology, applied, refused } = applyAll(START, [
      { kind: 'Settled', partitions: [at(START, A)] },
      { kind: 'PrimaryMoved', moves: [at(START, B)] },
    ])
    expect([applied, refused.map((one) => one === undefined)]).toEqual([1, [false, true]])
    expect(partition(topology)).toMatchObject({ primary: B, inSync: [B, A, C], partitionEpoch: 2 })
  })
})

describe('a process started again', () => {
  const node = {
    ...(START.nodes[A] as Topology['nodes'][number]),
    incarnation: 'later' as never,
    address: 'new:1',
  }
  const restarted = commit(START, { kind: 'NodeRestarted', old: process(START, A), node })

  it('has another place in the record, and no role, while a set names the one before', () => {
    expect(restarted.nodes[A]?.state).toBe('gone')
    expect(restarted.nodes[5]).toMatchObject({ nodeId: 'n0', incarnation: 'later', state: 'active' })
    expect(partition(restarted).inSync).not.toContain(5)
    expect(restarted.voters[0]).toMatchObject({ nodeId: 'n0', address: 'new:1' })
  })

  it('leaves a place that is free once nothing names it', () => {
    const settled = commit(restarted, { kind: 'Settled', partitions: [at(restarted, A)] })
    const again = commit(settled, {
      kind: 'NodeRestarted',
      old: process(settled, 5),
      node: { ...node, incarnation: 'third' as never },
    })
    expect(again.nodes[A]).toMatchObject({ incarnation: 'third', state: 'active' })
  })
})

describe('primaries of a dead node', () => {
  it('go to the members that have the fewest', () => {
    const topology = makeTopology({ nodes: 4, partitions: 120 })
    const dead = commit(topology, failed(topology, B))
    const counts = [A, C, D].map((node) => dead.partitions.filter(({ primary }) => primary === node).length)
    // A held no copy of what B was primary of.
    expect(counts).toEqual([30, 45, 45])
  })
})

describe('the cluster', () => {
  it('changes one voter in an epoch', () => {
    const voter = { nodeId: START.nodes[3]?.nodeId as never, diskId: 'disk-n3', address: 'n3:7401' }
    const { refused, topology } = applyAll(START, [
      { kind: 'VoterAdded', voter },
      { kind: 'VoterRemoved', nodeId: 'n0' as never, diskId: 'disk-n0' },
    ])
    expect(refused).toEqual([undefined, expect.stringContaining('one at a time')])
    expect(topology.voters).toHaveLength(4)
  })

  it('gives no number of a region twice, nor a partition', () => {
    const region = {
      name: 'r',
      group: 'default',
      sizeBytes: 0,
      maxEntries: 0,
      ttlMs: 0,
      policy: 'lru',
      durability: 'quorum',
      read: 'primary',
      minInSync: 1,
    } as const
    const one = commit(START, { kind: 'RegionCreated', region })
    const none = commit(one, { kind: 'RegionDropped', regionId: 0 })
    const two = commit(none, { kind: 'RegionCreated', region })
    expect(two.regions.map(({ regionId }) => regionId)).toEqual([1])
    const group = { name: 'more', replicationFactor: 2, partitionCount: 10 }
    const grown = commit(two, { kind: 'GroupCreated', group })
    expect(grown.groups[1]).toEqual({ ...group, firstPartition: 1 })
    expect(grown.partitions).toHaveLength(11)
    expect(grown.partitions.slice(1).every(({ inSync }) => inSync.length === 2)).toBe(true)
  })

  it('lets go of a node only when nothing is left on it', () => {
    const leaving = commit(START, { kind: 'NodeLeaving', process: process(START, B), leaving: true })
    expect(applyAll(leaving, [{ kind: 'NodeRemoved', process: process(START, B) }]).applied).toBe(0)
    const away = commit(START, { kind: 'NodeLeaving', process: process(START, D), leaving: true })
    const removed = commit(away, { kind: 'NodeRemoved', process: process(START, D) })
    expect(removed.nodes[D]?.state).toBe('gone')
    expect(removed.ring.nodes.map(({ nodeId }) => nodeId)).not.toContain('n3')
    expect(applyAll(removed, [back(removed, D)]).applied).toBe(0)
  })
})
