/**
 * What must hold in a cluster at every moment, checked after every event of a simulation from outside: it reads the nodes'
 * state and trusts nothing they say of themselves. Only nodes on which something ran are looked at again.
 */

import type { NodeCore } from '../../../src/node/node-core.ts'
import type { Replica } from '../../../src/replication/replica.ts'
import type { TestCluster, TestNode } from '../../../src/testing/test-cluster.ts'
import { VersionWitness } from '../../support/version-witness.ts'
import type { Coverage } from './coverage.ts'
import type { RunLog } from './run-log.ts'
import type { TopologyWatch } from './topology-watch.ts'

/** What was seen of one replica last. */
interface Seen {
  readonly replica: Replica
  role: string
  epoch: number
  sequence: number
}

/** Events between two looks at all that is held. */
const LOOK_EVERY = 3000

export class Invariants {
  readonly #cluster: TestCluster
  readonly #watch: TopologyWatch
  readonly #coverage: Coverage
  /** Per partition, and epoch and sequence of the last entry: the digest of a replica there, and whose it was. */
  readonly #digests = new Map<string, { readonly digest: number; readonly who: string }>()
  /** Per partition and partition epoch: the process that served as its primary. */
  readonly #servers = new Map<string, string>()
  readonly #diverged = new Map<NodeCore, number>()
  readonly #seen = new Map<NodeCore, Map<number, Seen>>()
  readonly #log: RunLog
  readonly #versions = new VersionWitness()
  #events = 0

  constructor(cluster: TestCluster, watch: TopologyWatch, coverage: Coverage, log: RunLog) {
    this.#cluster = cluster
    this.#watch = watch
    this.#coverage = coverage
    this.#log = log
  }

  check(): void {
    if (++this.#events % LOOK_EVERY === 0) this.#look()
    for (const node of this.#cluster.nodes) {
      if (!node.host.active) continue
      node.host.active = false
      if (node.core !== undefined) this.#node(node, node.core)
    }
  }

  /** Whatever is held under a version is what it says, of learners too. */
  #look(): void {
    for (const { nodeId, core } of this.#cluster.nodes) {
      const { replicator, engine } = core?.dataPlane ?? {}
      if (replicator === undefined || engine === undefined) continue
      for (const { partition, role } of replicator.replicas())
        for (const what of this.#versions.look(`${nodeId} (${role})`, engine, partition))
          this.#log.violation(what)
    }
  }

  #node(node: TestNode, core: NodeCore): void {
    this.#watch.look(node.nodeId, core)
    const plane = core.dataPlane
    if (plane === undefined) return
    if (core.diverged > (this.#diverged.get(core) ?? 0)) {
      this.#diverged.set(core, core.diverged)
      this.#log.violation(`${node.nodeId}: ${core.diverged} logs contradicted each other`)
    }
    let seen = this.#seen.get(core)
    if (seen === undefined) {
      seen = new Map()
      this.#seen.set(core, seen)
    }
    for (const replica of plane.replicator.replicas()) this.#replica(node.nodeId, core, replica, seen)
    const { backlog } = plane.replicator
    if (backlog.heldBytes > backlog.bytesMax && backlog.end - backlog.first > 1)
      this.#log.violation(
        `${node.nodeId}: the backlog holds ${backlog.heldBytes} bytes of ${backlog.bytesMax}`,
      )
  }

  #replica(nodeId: string, core: NodeCore, replica: Replica, seen: Map<number, Seen>): void {
    const { partition, role, lastSequence, partitionEpoch, commitSequence } = replica
    let before = seen.get(partition)
    if (before === undefined || before.replica !== replica) {
      before = { replica, role: 'none', epoch: 0, sequence: -1 }
      seen.set(partition, before)
    }
    const sameRole = before.role === role && before.epoch === partitionEpoch
    if (sameRole && before.sequence === lastSequence) return
    this.#coverage.checks++
    const at = `${nodeId}/${partition}`
    if (partitionEpoch < before.epoch)
      this.#log.violation(`${at}: epoch ${before.epoch} became ${partitionEpoch}`)
    if (sameRole && role !== 'learner' && lastSequence < before.sequence)
      this.#log.violation(`${at}: a ${role} went back from ${before.sequence} to ${lastSequence}`)
    if (role === 'primary') this.#served(at, core, replica)
    if (role !== 'learner' && commitSequence > lastSequence)
      this.#log.violation(`${at}: committed past its end`)
    if (role === 'primary' || role === 'backup') this.#digest(at, core, replica)
    for (const member of replica.members) {
      if (member.acked > lastSequence || member.sent > lastSequence)
        this.#log.violation(`${at}: acked ${member.acked}, sent ${member.sent} of ${lastSequence}`)
    }
    before.role = role
    before.epoch = partitionEpoch
    before.sequence = lastSequence
  }

  /** One process serves a partition at one epoch, ever. */
  #served(at: string, core: NodeCore, { partition, partitionEpoch }: Replica): void {
    const name = `${partition}@${partitionEpoch}`
    const server = this.#servers.get(name)
    if (server === undefined) {
      this.#servers.set(name, core.incarnation)
      this.#leaseIsOver(at, core, partition, partitionEpoch)
    } else if (server !== core.incarnation)
      this.#log.violation(`${at}: serves epoch ${partitionEpoch} as another process did`)
  }

  /** Whoever begins to serve is alone: no earlier primary could still answer by its lease, nor this one by its own beside a later one. */
  #leaseIsOver(at: string, core: NodeCore, partition: number, partitionEpoch: number): void {
    const own = core.dataPlane?.replicator
    const ownReplica = own?.replica(partition)
    const hasLease = ownReplica !== undefined && own?.reads.hasLease(ownReplica) === true
    for (const { nodeId, core: other } of this.#cluster.nodes) {
      if (other === undefined || other === core) continue
      const replicator = other.dataPlane?.replicator
      const replica = replicator?.replica(partition)
      if (replica === undefined || replicator?.reads.hasLease(replica) !== true) continue
      if (replica.partitionEpoch < partitionEpoch || hasLease)
        this.#log.violation(`${at}: begins to serve while ${nodeId} holds a lease`)
    }
  }

  /** Replicas whose last entry is the same hold the same. */
  #digest(at: string, core: NodeCore, { partition, lastEpoch, lastSequence, role }: Replica): void {
    const digest = fold(core.dataPlane?.engine.digest(partition))
    const name = `${partition}/${lastEpoch}.${lastSequence}`
    const known = this.#digests.get(name)
    if (known === undefined) this.#digests.set(name, { digest, who: `${at} (${role})` })
    else if (known.digest !== digest)
      this.#log.violation(
        `${at} (${role}) holds something else at ${lastEpoch}.${lastSequence} than ${known.who}`,
      )
  }
}

function fold(digest: Uint32Array | undefined): number {
  let hash = 0x811c9dc5
  for (const word of digest ?? []) hash = Math.imul(hash ^ word, 0x01000193) >>> 0
  return hash
}
