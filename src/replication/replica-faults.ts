/**
 * What went wrong with replicas: counted, told in the log, and, where a follower can't go on, what becomes of it.
 *
 * A member that can't follow is left out, and the topology is asked for a set without it (leadership.ts); a learner begins anew. Logs
 * that contradict each other and replicas that hold something else than their primary are never to be met: each is a bug of ours,
 * or a peer that lies.
 */

import type { Log } from '../kernel/log.ts'
import type { NodeIndex } from '../topology/topology.ts'
import type { Member, Replica } from './replica.ts'

export interface ReplicationCounters {
  /** Replicas that were left out. */
  lagging: number
  /** Logs that contradicted each other: always 0, or there is a bug. */
  diverged: number
  /** Writes that this node had applied and the cluster went on without: nobody was told that they were safe. */
  rolledBackWrites: number
  /** Replicas that held something else than their primary: always 0, or there is a bug. */
  repairs: number
}

export interface ReplicaFaultsPorts {
  readonly log: Log
  nodeId(node: NodeIndex): string | undefined
  /** The log can't bring the learner on. */
  beginAnew(learner: Member, why: string): void
}

export class ReplicaFaults {
  readonly counters: ReplicationCounters = { lagging: 0, diverged: 0, rolledBackWrites: 0, repairs: 0 }
  readonly #ports: ReplicaFaultsPorts

  constructor(ports: ReplicaFaultsPorts) {
    this.#ports = ports
  }

  /** The follower can't be brought up from the backlog. */
  lags(replica: Replica, follower: Member, why: string): void {
    if (follower.session > 0) {
      this.#ports.beginAnew(follower, why)
      return
    }
    follower.state = 'lagging'
    this.counters.lagging++
    this.#ports.log.warn('a replica lags and is left out until it is brought up again', {
      node: this.#ports.nodeId(follower.node),
      partition: replica.partition,
      why,
    })
  }

  /** The follower's memory is full. A set of two waits until there is room; a larger one goes on without. */
  isFull(replica: Replica, follower: Member): void {
    follower.state = 'awaiting'
    if (follower.session > 0 || replica.members.length > 1) this.lags(replica, follower, 'its memory is full')
  }

  contradicts(replica: Replica, what: string): void {
    this.counters.diverged++
    // The peer may lie; but if it is one of ours, this is a bug.
    this.#ports.log.warn('replicas of a partition contradict each other: please report it', {
      partition: replica.partition,
      what,
    })
  }

  /** The member is taken out, and brought up again by what differs. */
  differs(replica: Replica, member: Member, buckets: number): void {
    this.counters.repairs++
    this.#ports.log.error('a replica holds something else than its primary: please report it', {
      partition: replica.partition,
      node: this.#ports.nodeId(member.node),
      buckets,
    })
    this.lags(replica, member, 'it holds something else than its primary')
  }

  /** Writes applied here are no part of the log that the cluster went on with. */
  rolledBack(replica: Replica, writes: number): void {
    this.counters.rolledBackWrites += writes
    this.#ports.log.warn('writes that no quorum had are given up', { partition: replica.partition, writes })
  }
}
