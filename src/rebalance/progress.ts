/** How far a rebalance has come, and when it will be done at the pace it has. */

import { wantedPlacement } from '../topology/placement.ts'
import {
  isUp,
  type NodeIndex,
  type PartitionRecord,
  type RingNode,
  type Topology,
} from '../topology/topology.ts'

export interface Progress {
  readonly state: 'idle' | 'running' | 'paused'
  /** Copies that the last change of the ring asked to be built. */
  readonly copiesTotal: number
  /** Copies still to be built, for that change or to repair. */
  readonly copiesLeft: number
  /** Of those, being built now. */
  readonly copiesRunning: number
  /** Partitions whose primary is still to change. */
  readonly handoversLeft: number
  /** Copies still to be removed. */
  readonly removalsLeft: number
}

export function progressOf(topology: Topology): Progress {
  const { ring } = topology
  let copiesLeft = 0
  let copiesRunning = 0
  let handoversLeft = 0
  let removalsLeft = 0
  const wanted = wantedPlacement(topology)
  topology.partitions.forEach((record, p) => {
    const { primary, inSync, learners } = record
    const places = wanted[p] ?? []
    copiesRunning += learners.length
    copiesLeft += copiesLacking(topology, record, places)
    removalsLeft += inSync.filter((node) => !places.includes(node)).length
    if (places[0] !== undefined && places[0] !== primary && isUp(topology.nodes[places[0]]?.state))
      handoversLeft++
  })
  const left = copiesLeft + handoversLeft + removalsLeft
  return {
    state: ring.paused ? 'paused' : left === 0 ? 'idle' : 'running',
    copiesTotal: copiesToMove(ring.previous, ring.previousPlacement, ring.nodes, ring.placement),
    copiesLeft,
    copiesRunning,
    handoversLeft,
    removalsLeft,
  }
}

/** How many copies are still to be built. @param wanted the placement that the ring wants */
export function copiesToBuild(topology: Topology, wanted: readonly (readonly NodeIndex[])[]): number {
  let count = 0
  topology.partitions.forEach((record, p) => {
    count += copiesLacking(topology, record, wanted[p] ?? [])
  })
  return count
}

function copiesLacking(
  { nodes }: Topology,
  { inSync }: PartitionRecord,
  places: readonly NodeIndex[],
): number {
  let count = 0
  for (const node of places) if (!inSync.includes(node) && isUp(nodes[node]?.state)) count++
  return count
}

/** Copies that lie on another node under the second placement. */
export function copiesToMove(
  before: readonly RingNode[],
  placedBefore: readonly (readonly number[])[],
  after: readonly RingNode[],
  placedAfter: readonly (readonly number[])[],
): number {
  let count = 0
  placedAfter.forEach((places, p) => {
    const held = new Set((placedBefore[p] ?? []).map((place) => before[place]?.nodeId))
    for (const place of places) if (!held.has(after[place]?.nodeId)) count++
  })
  return count
}

/** Samples the pace of at most so many minutes. */
const WINDOW_MS = 120_000
const SAMPLE_MS = 1000

/** Remembers how much was left when, for an estimate. Call `observe` about once a second. */
export class Pace {
  #samples: { readonly atMs: number; readonly left: number }[] = []

  observe(copiesLeft: number, nowMs: number): void {
    const last = this.#samples.at(-1)
    // More to do than before: another rebalance has begun.
    if (copiesLeft === 0 || (last !== undefined && copiesLeft > last.left)) this.#samples = []
    if (copiesLeft === 0 || (last !== undefined && copiesLeft === last.left && nowMs - last.atMs < SAMPLE_MS))
      return
    this.#samples.push({ atMs: nowMs, left: copiesLeft })
    this.#samples = this.#samples.filter(({ atMs }) => nowMs - atMs <= WINDOW_MS).slice(-300)
  }

  /** Milliseconds until nothing is left; undefined while there is no pace to go by. */
  etaMs(nowMs: number): number | undefined {
    const first = this.#samples[0]
    const last = this.#samples.at(-1)
    if (first === undefined || last === undefined || first.left === last.left) return undefined
    const perMs = (first.left - last.left) / Math.max(1, nowMs - first.atMs)
    return Math.round(last.left / perMs)
  }
}
