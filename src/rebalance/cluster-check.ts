/**
 * What is not as it should be, and whether any one node may stop now.
 *
 * A cluster is safe when each partition has all the copies that the ring wants of it, at least two, in sync and settled, nobody is
 * being brought up, all nodes are up, and the voters can lose one and still decide. Then the death of any one node loses nothing
 * and is healed; a rolling restart waits for that between two nodes.
 */

import { wantedPlacement } from '../topology/placement.ts'
import { isUp, majorityOf, type Topology } from '../topology/topology.ts'
import { isBlocked, lacksValidSet } from '../topology/validity.ts'

export type Severity = 'critical' | 'warning' | 'info'

export interface Finding {
  readonly severity: Severity
  /** A name for programs. */
  readonly code: string
  readonly message: string
  readonly count: number
  /** Whether one more death could lose data or stop something. */
  readonly unsafe: boolean
}

export interface PartitionCounts {
  readonly all: number
  /** With all copies that are wanted in sync on nodes that are up. */
  readonly full: number
  readonly blocked: number
  /** Of those and of others, partitions that only Recovered, or somebody's return, can bring back. */
  readonly lost: number
  readonly unsettled: number
  readonly learning: number
  /** With fewer than two copies in sync on nodes that are up. */
  readonly single: number
}

export type Liveness = (nodeId: string, incarnation: string) => string

export function countPartitions(topology: Topology): PartitionCounts {
  const wanted = wantedPlacement(topology)
  const counts = { all: 0, full: 0, blocked: 0, lost: 0, unsettled: 0, learning: 0, single: 0 }
  topology.partitions.forEach((partition, p) => {
    const up = partition.inSync.filter((node) => isUp(topology.nodes[node]?.state))
    const places = wanted[p] ?? []
    counts.all++
    if (places.length > 0 && places.every((node) => up.includes(node))) counts.full++
    if (isBlocked(topology, partition)) counts.blocked++
    if (isBlocked(topology, partition) && lacksValidSet(topology, partition)) counts.lost++
    if (partition.unsettled.length > 0) counts.unsettled++
    if (partition.learners.length > 0) counts.learning++
    if (up.length < 2) counts.single++
  })
  return counts
}

/** The worst first. */
export function checkCluster(topology: Topology, liveness: Liveness): Finding[] {
  const findings: Finding[] = []
  const add = (severity: Severity, unsafe: boolean, code: string, count: number, message: string): void => {
    if (count > 0) findings.push({ severity, unsafe, code, count, message })
  }
  const { all, full, blocked, lost, unsettled, learning, single } = countPartitions(topology)
  const of = (count: number): string => `${count} of ${all} partitions`
  add(
    'critical',
    true,
    'partitions-lost',
    lost,
    `${of(lost)} lack the copies to go on: start the failed nodes again, or run \`ringcache cluster recover\` and lose what only they held`,
  )
  add('critical', true, 'partitions-blocked', blocked - lost, `${of(blocked - lost)} wait for a primary`)
  add(
    'warning',
    true,
    'partitions-single',
    single,
    `${of(single)} have one copy: the next failure may lose it`,
  )
  add(
    'warning',
    true,
    'partitions-incomplete',
    all - full,
    `${of(all - full)} do not have all their copies in sync yet`,
  )
  add('info', true, 'partitions-unsettled', unsettled, `${of(unsettled)} are settling after a change`)
  add('info', true, 'partitions-learning', learning, `${of(learning)} are being copied`)
  checkNodes(topology, liveness, add)
  checkVoters(topology, add)
  const order: readonly Severity[] = ['critical', 'warning', 'info']
  return findings.sort((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity))
}

type Add = (severity: Severity, unsafe: boolean, code: string, count: number, message: string) => void

function checkNodes(topology: Topology, liveness: Liveness, add: Add): void {
  const present = topology.nodes.filter(({ state }) => state !== 'gone')
  const failed = present.filter(({ state }) => state === 'failed').map(({ nodeId }) => nodeId)
  const silent = present
    .filter(({ state, nodeId, incarnation }) => isUp(state) && liveness(nodeId, incarnation) !== 'alive')
    .map(({ nodeId }) => nodeId)
  const leaving = present.filter(({ state }) => state === 'leaving').map(({ nodeId }) => nodeId)
  const drained = topology.ring.nodes.filter(({ weight }) => weight === 0).map(({ nodeId }) => nodeId)
  // One that was replaced endangers nothing more.
  const missed = topology.ring.nodes.some(({ nodeId, weight }) => weight > 0 && failed.includes(nodeId))
  add(
    'warning',
    missed,
    'nodes-failed',
    failed.length,
    `failed: ${failed.join(', ')}; start them again, or \`ringcache node remove\` those that are gone for good`,
  )
  add('warning', true, 'nodes-silent', silent.length, `not answering: ${silent.join(', ')}`)
  add('info', false, 'nodes-leaving', leaving.length, `leaving: ${leaving.join(', ')}`)
  add('info', false, 'nodes-drained', drained.length, `drained: ${drained.join(', ')}`)
  add('info', false, 'rebalance-paused', topology.ring.paused ? 1 : 0, 'the rebalance is paused')
}

function checkVoters(topology: Topology, add: Add): void {
  const { nodes, voters } = topology
  const alive = voters.filter((voter) =>
    nodes.some((node) => node.nodeId === voter.nodeId && isUp(node.state)),
  )
  const needed = majorityOf(voters.length)
  const names = voters.map(({ nodeId }) => nodeId).join(', ')
  add(
    'critical',
    true,
    'voters-lost',
    alive.length < needed ? voters.length - alive.length : 0,
    `${alive.length} of ${voters.length} voters (${names}) are up, ${needed} are needed: nothing can be changed`,
  )
  const tight = alive.length >= needed && alive.length - 1 < needed
  add(
    'warning',
    true,
    'voters-tight',
    tight ? 1 : 0,
    voters.length < 3
      ? `${voters.length === 1 ? 'a cluster of one node' : 'two nodes'} can not fail over by itself: run three or more`
      : `${alive.length} of ${voters.length} voters are up: one more failure and nothing can be changed`,
  )
}
