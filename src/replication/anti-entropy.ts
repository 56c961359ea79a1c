/**
 * Compares replicas that stand at the same sequence, a few partitions at a time, each about every 30 seconds (docs/protocol.md,
 * "Anti-entropy"). In a cluster without bugs there is nothing to find. What is found is counted and reported, and the
 * replica is taken out of the in-sync set, to be brought up again from its differing buckets.
 */

import type { Engine } from '../engine/engine.ts'
import type { NodeIndex } from '../topology/topology.ts'
import {
  COMPARES_PER_FRAME,
  type Compare,
  type Compared,
  CompareStatus,
  encodeCompare,
  encodeCompared,
} from '../wire/replica-frames.ts'
import type { PeerLog } from './peer-log.ts'
import type { Member, Replica } from './replica.ts'
import { differing } from './sync-target.ts'

export interface AntiEntropyPorts {
  readonly engine: Engine
  peer(node: NodeIndex): PeerLog | undefined
  replica(partition: number): Replica | undefined
  /** The member holds something else than its primary at the same place in the log. */
  differs(replica: Replica, member: Member, buckets: number): void
}

const COMPARE_EVERY_MS = 30_000

export class AntiEntropy {
  readonly #ports: AntiEntropyPorts
  #next = 0
  /** Comparisons that were answered. */
  compared = 0

  constructor(ports: AntiEntropyPorts) {
    this.#ports = ports
  }

  /** Compares the next of this node's partitions, as many as are due in `elapsedMs`, in one frame to each member. */
  tick(primaries: readonly Replica[], elapsedMs: number): void {
    if (primaries.length === 0) return
    const count = Math.min(primaries.length, Math.ceil((primaries.length * elapsedMs) / COMPARE_EVERY_MS))
    const compares = new Map<PeerLog, Compare[]>()
    for (let i = 0; i < count; i++) {
      this.#next = (this.#next + 1) % primaries.length
      this.#collect(primaries[this.#next] as Replica, compares)
    }
    for (const [peer, list] of compares) {
      for (let at = 0; at < list.length; at += COMPARES_PER_FRAME)
        peer.send(encodeCompare(list.slice(at, at + COMPARES_PER_FRAME)))
    }
  }

  #collect(replica: Replica, compares: Map<PeerLog, Compare[]>): void {
    for (const member of replica.members) {
      if (member.state !== 'following') continue
      const peer = this.#ports.peer(member.node)
      peer?.flush()
      // It is compared in order with the log: all of which has to be on its way.
      if (peer === undefined || member.sent !== replica.lastSequence) continue
      const { partition, partitionEpoch, lastSequence } = replica
      const digests = this.#ports.engine.digest(partition)
      const list = compares.get(peer) ?? []
      compares.set(peer, list)
      list.push({ partition, partitionEpoch, lastSequence, digests })
    }
  }

  /** A backup's answer to its primary. */
  answer(from: NodeIndex, compares: readonly Compare[]): Uint8Array {
    return encodeCompared(compares.map((compare) => this.#compared(from, compare)))
  }

  #compared(from: NodeIndex, compare: Compare): Compared {
    const { partition, partitionEpoch, lastSequence } = compare
    const replica = this.#ports.replica(partition)
    const name = { partition, partitionEpoch, lastSequence }
    const isAlike =
      replica?.role === 'backup' &&
      replica.primary === from &&
      replica.partitionEpoch === partitionEpoch &&
      replica.lastSequence === lastSequence
    if (!isAlike) return { ...name, status: CompareStatus.elsewhere, low: 0, high: 0 }
    const { low, high } = differing(compare.digests, this.#ports.engine.digest(partition))
    return {
      ...name,
      status: low === 0 && high === 0 ? CompareStatus.equal : CompareStatus.differs,
      low,
      high,
    }
  }

  answered(node: NodeIndex, compared: Compared): void {
    if (compared.status === CompareStatus.elsewhere) return
    this.compared++
    if (compared.status !== CompareStatus.differs) return
    const replica = this.#ports.replica(compared.partition)
    const member = replica?.member(node)
    if (replica === undefined || member === undefined || replica.partitionEpoch !== compared.partitionEpoch)
      return
    this.#ports.differs(replica, member, bits(compared.low) + bits(compared.high))
  }
}

function bits(word: number): number {
  let count = 0
  for (let left = word; left !== 0; left &= left - 1) count++
  return count
}
