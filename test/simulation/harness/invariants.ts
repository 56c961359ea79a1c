/**
 * What must hold in a cluster at every moment, checked after every event of a simulation from outside: it reads the nodes'
 * state and trusts nothing they say of themselves.
 */

import type { NodeCore } from '../../../src/node/node-core.ts'
import type { Replica } from '../../../src/replication/replica.ts'
import type { TestCluster } from '../../../src/testing/test-cluster.ts'

export class Invariants {
  readonly #cluster: TestCluster
  /** Per partition and sequence: the digest a replica had there. */
  readonly #digests = new Map<string, number>()
  readonly #seen = new Map<string, number>()
  /** Processes that were killed, with the memory they had. */
  readonly dead: NodeCore[] = []
  readonly violations: string[] = []
  checks = 0

  constructor(cluster: TestCluster) {
    this.#cluster = cluster
  }

  /** After each event: sequences never go back, equal sequences have equal digests, bounds hold. */
  check(): void {
    for (const { core, nodeId } of this.#cluster.nodes) {
      const plane = core?.dataPlane
      if (core === undefined || plane === undefined) continue
      for (const replica of plane.replicator.replicas()) this.#replica(nodeId, core, replica)
      const { backlog } = plane.replicator
      if (backlog.heldBytes > backlog.bytesMax && backlog.end - backlog.first > 1) {
        this.violations.push(`${nodeId}: the backlog holds ${backlog.heldBytes} bytes of ${backlog.bytesMax}`)
      }
    }
  }

  /** A quorum acknowledged the write: a majority of its replicas holds it, living or dead. */
  acknowledged(partition: number, sequence: number): void {
    let holders = 0
    let replicas = 0
    for (const core of this.#processes()) {
      const replica = core.dataPlane?.replicator.replica(partition)
      if (replica === undefined) continue
      replicas++
      if (replica.lastSequence >= sequence) holders++
    }
    if (holders * 2 <= replicas) {
      this.violations.push(
        `partition ${partition}: ${holders} of ${replicas} replicas hold acknowledged ${sequence}`,
      )
    }
  }

  /** Once faults are over: every follower of a living primary holds all it holds, and nothing waits. */
  settled(): void {
    for (const node of this.#cluster.nodes) {
      const { replicator, engine } = node.core?.dataPlane ?? {}
      if (replicator === undefined || engine === undefined || replicator.self < 0) continue
      for (const replica of replicator.primaries) {
        if (replica.waiting > 0)
          this.violations.push(`partition ${replica.partition}: ${replica.waiting} still wait`)
        for (const member of replica.members) {
          const other = this.#cluster.nodes[member.node]?.core?.dataPlane?.replicator
          if (other === undefined || other.self < 0 || member.state === 'lagging') continue
          const copy = other.replica(replica.partition)
          if (copy?.lastSequence !== replica.lastSequence || member.acked !== replica.lastSequence) {
            this.violations.push(
              `partition ${replica.partition}: ${member.state} node ${member.node} stands at ${copy?.lastSequence}, acked ${member.acked}, of ${replica.lastSequence}`,
            )
          }
        }
      }
    }
  }

  #replica(nodeId: string, core: NodeCore, replica: Replica): void {
    const { partition, lastSequence, commitSequence } = replica
    const at = `${core.incarnation}/${partition}`
    const before = this.#seen.get(at) ?? 0
    if (lastSequence === before && before > 0) return
    this.#seen.set(at, lastSequence)
    this.checks++
    if (lastSequence < before)
      this.violations.push(`${nodeId}/${partition}: went back to ${lastSequence} from ${before}`)
    if (commitSequence > lastSequence) this.violations.push(`${nodeId}/${partition}: committed past its end`)
    const digest = fold(core.dataPlane?.engine.digest(partition) ?? new Uint32Array(0))
    const name = `${partition}/${lastSequence}`
    const known = this.#digests.get(name)
    if (known === undefined) this.#digests.set(name, digest)
    else if (known !== digest)
      this.violations.push(`${nodeId}/${partition}: another digest at ${lastSequence}`)
    for (const member of replica.members) {
      if (member.acked > member.sent || member.sent > lastSequence) {
        this.violations.push(
          `${nodeId}/${partition}: acked ${member.acked}, sent ${member.sent} of ${lastSequence}`,
        )
      }
    }
  }

  *#processes(): Generator<NodeCore> {
    for (const { core } of this.#cluster.nodes) if (core !== undefined) yield core
    yield* this.dead
  }
}

function fold(digest: Uint32Array): number {
  let hash = 0x811c9dc5
  for (const word of digest) hash = Math.imul(hash ^ word, 0x01000193) >>> 0
  return hash
}
