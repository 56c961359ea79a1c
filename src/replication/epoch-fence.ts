/**
 * What a node answers to the primary of a partition that asks what it holds: it adopts the epoch it is asked for, and answers
 * in the same turn ◆. From then on it refuses whoever comes with an older epoch, itself included if it was primary.
 *
 * The asker is the record's primary of that epoch, for nobody else asks; this node may learn of the record later.
 */

import type { Engine } from '../engine/engine.ts'
import type { NodeIndex } from '../topology/topology.ts'
import { type Ask, type Position, PositionStatus } from '../wire/replica-frames.ts'
import type { Replica } from './replica.ts'

export interface EpochFencePorts {
  readonly engine: Engine
  monotonicMs(): number
  replica(partition: number): Replica | undefined
  /** Puts the replica under the epoch of `primary`, as its backup or, when `session` is not 0, still as its learner. */
  adopt(replica: Replica, partitionEpoch: number, primary: NodeIndex, session: number): void
  /** Two nodes claim to be primary in one epoch: a bug, or a liar. */
  contradicted(replica: Replica, node: NodeIndex): void
  /** Broken by a test: it answers without adopting. */
  readonly answersUnadopted: boolean
  /** Broken by a test: a learner that is not whole takes itself for a member. */
  readonly anyLearnerCounts: boolean
}

export class EpochFence {
  readonly #ports: EpochFencePorts

  constructor(ports: EpochFencePorts) {
    this.#ports = ports
  }

  answer(from: NodeIndex, asks: readonly Ask[]): Position[] {
    return asks.map((ask) => this.#answer(from, ask))
  }

  #answer(from: NodeIndex, ask: Ask): Position {
    const replica = this.#ports.replica(ask.partition)
    if (replica === undefined) return refusal(ask, PositionStatus.noRole, 0)
    if (ask.partitionEpoch < replica.partitionEpoch)
      return refusal(ask, PositionStatus.later, replica.partitionEpoch)
    if (!this.#canBe(replica, ask.session)) return refusal(ask, PositionStatus.noRole, replica.partitionEpoch)
    if (ask.partitionEpoch > replica.partitionEpoch && !this.#ports.answersUnadopted) {
      this.#ports.adopt(replica, ask.partitionEpoch, from, ask.session)
    } else if (replica.primary !== from && !this.#ports.answersUnadopted) {
      this.#ports.contradicted(replica, from)
      return refusal(ask, PositionStatus.noRole, replica.partitionEpoch)
    }
    const digest = foldDigest(this.#ports.engine.digest(replica.partition))
    return {
      ...ask,
      status: PositionStatus.adopted,
      heldEpoch: replica.partitionEpoch,
      lastEpoch: replica.lastEpoch,
      lastSequence: replica.lastSequence,
      digestLow: digest.low,
      digestHigh: digest.high,
      leaseMs: Math.max(0, replica.leaseUntilMs - this.#ports.monotonicMs()),
    }
  }

  /** Whether the replica is what it is asked as. */
  #canBe(replica: Replica, session: number): boolean {
    const { state } = replica
    if (session > 0) return state.kind === 'learner' && state.learner.session === session
    return state.kind !== 'learner' || state.learner.isWhole || this.#ports.anyLearnerCounts
  }
}

function refusal(ask: Ask, status: number, heldEpoch: number): Position {
  return {
    partition: ask.partition,
    partitionEpoch: ask.partitionEpoch,
    status,
    heldEpoch,
    lastEpoch: 0,
    lastSequence: 0,
    digestLow: 0,
    digestHigh: 0,
    leaseMs: 0,
  }
}

/** All buckets of a digest in one. */
export function foldDigest(digest: Uint32Array): { low: number; high: number } {
  let low = 0
  let high = 0
  for (let i = 0; i < digest.length; i += 2) {
    low ^= digest[i] as number
    high ^= digest[i + 1] as number
  }
  return { low: low >>> 0, high: high >>> 0 }
}
