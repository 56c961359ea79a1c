/**
 * How a process comes to be part of its cluster: as a new node, as the next process of a known one, or as one that was held dead and is
 * back with what it holds. Who was removed, or has said goodbye, stays away.
 */

import type { Incarnation, NodeId } from '../kernel/ids.ts'
import { isUp, type NodeIndex, type NodeRecord, type Topology } from '../topology/topology.ts'
import type { Transform } from '../topology/transforms.ts'
import { type NodeOptions, ownAddress } from './options.ts'

/** Between two requests. */
const RETRY_MS = 400

export class Admission {
  readonly #options: NodeOptions
  readonly #incarnation: string
  #dueMs = 0
  #wasMember = false
  #isLeaving = false

  constructor(options: NodeOptions, incarnation: string) {
    this.#options = options
    this.#incarnation = incarnation
  }

  /** The node stops: it does not want to be taken back. */
  leave(): void {
    this.#isLeaving = true
  }

  /** @returns whether this process was a member and is none any more. */
  adopted(self: NodeIndex): boolean {
    if (self < 0) return this.#wasMember
    this.#wasMember = true
    return false
  }

  /** What to ask for now, if anything. */
  request(topology: Topology, self: NodeIndex, diskId: string, nowMs: number): Transform | undefined {
    const record = topology.nodes[self]
    const isRemoved = record === undefined && this.#wasMember
    if (isUp(record?.state) || isRemoved || this.#isLeaving || nowMs < this.#dueMs) return undefined
    this.#dueMs = nowMs + RETRY_MS
    const { nodeId } = this.#options
    const node = this.#asRecord(topology, diskId)
    const old = topology.nodes.find((one) => one.nodeId === nodeId && one.state !== 'gone')
    if (old === undefined || old.incarnation === this.#incarnation) return { kind: 'NodeJoined', node }
    return { kind: 'NodeRestarted', old: { nodeId: old.nodeId, incarnation: old.incarnation }, node }
  }

  #asRecord(topology: Topology, diskId: string): Omit<NodeRecord, 'state'> {
    const { nodeId, nodes, zone } = this.#options
    const own = nodes.find((node) => node.nodeId === nodeId)
    const before = topology.nodes.find((node) => node.nodeId === nodeId)
    return {
      nodeId: nodeId as NodeId,
      incarnation: this.#incarnation as Incarnation,
      diskId,
      address: ownAddress(this.#options),
      zone: zone ?? own?.zone ?? before?.zone ?? '',
      weight: own?.weight ?? before?.weight ?? 1,
    }
  }
}
