/** What must hold of a cluster of replicas after every event (docs/protocol.md, "Invariants"), seen from outside. */

import { foldDigest } from '../../../src/replication/epoch-fence.ts'
import type { Replica } from '../../../src/replication/replica.ts'
import { VersionWitness } from '../version-witness.ts'
import type { ReplicaCluster } from './replica-cluster.ts'
import type { ReplicaNode } from './replica-node.ts'
import type { Acknowledged } from './workload.ts'

/** Events between two looks at all that is held. */
const LOOK_EVERY = 25

export class ReplicaInvariants {
  readonly #cluster: ReplicaCluster
  /** Who serves an epoch of a partition. */
  readonly #servers = new Map<string, string>()
  readonly #digests = new Map<string, string>()
  readonly #acknowledged = new Map<number, Acknowledged>()
  readonly #seen = new Map<string, number>()
  readonly #versions = new VersionWitness()
  #events = 0
  readonly violations: string[] = []
  /** Set once a partition started over: what was acknowledged before may be lost. */
  lossAllowed = false

  constructor(cluster: ReplicaCluster) {
    this.#cluster = cluster
  }

  acknowledged(write: Acknowledged): void {
    const highest = this.#acknowledged.get(write.partition)
    if (highest === undefined || write.sequence > highest.sequence)
      this.#acknowledged.set(write.partition, write)
  }

  check(): void {
    const leases = new Map<number, ReplicaNode>()
    for (const node of this.#cluster.nodes) {
      const replicator = node?.plane?.replicator
      if (node === undefined || replicator === undefined) continue
      for (const replica of replicator.replicas()) {
        this.#log(node, replica)
        if (replica.role !== 'primary') continue
        this.#serves(node, replica)
        if (node.host.paused || replicator.quarantine.isOutOfTouch || !replicator.reads.hasLease(replica))
          continue
        const other = leases.get(replica.partition)
        if (other !== undefined)
          this.#add(`${other.nodeId} and ${node.nodeId} hold leases of partition ${replica.partition}`)
        leases.set(replica.partition, node)
      }
    }
    if (++this.#events % LOOK_EVERY === 0) this.#look()
  }

  /** Whatever is held under a version is what it says, of learners too. */
  #look(): void {
    for (const node of this.#cluster.nodes) {
      const { replicator, engine } = node?.plane ?? {}
      if (node === undefined || replicator === undefined || engine === undefined) continue
      for (const { partition, role } of replicator.replicas())
        for (const what of this.#versions.look(`${node.nodeId} (${role})`, engine, partition)) this.#add(what)
    }
  }

  /** Once faults are over and things have settled. */
  settled(replicas: number): void {
    this.#look()
    const { register, nodes, dead } = this.#cluster
    register.topology.partitions.forEach((record, partition) => {
      const what = `partition ${partition} at epoch ${record.partitionEpoch}`
      if (record.inSync.length !== replicas || record.unsettled.length > 0)
        this.#add(
          `${what} has ${record.inSync.length} replicas, ${record.unsettled.length} unsettled sets, ${record.learners.length} learners`,
        )
      const at = this.#cluster.machineOf(record.primary)
      const primary = this.#cluster.replica(at, partition)
      if (primary?.role !== 'primary' || primary.partitionEpoch !== record.partitionEpoch) {
        const state = primary?.state.kind === 'taking-over' ? primary.state.takeover.state : undefined
        const others = this.#cluster.nodes
          .map((node) => node?.plane?.replicator.replica(partition))
          .map((one) =>
            one === undefined
              ? '-'
              : `${one.role} e${one.partitionEpoch} ${one.lastEpoch}/${one.lastSequence}`,
          )
        this.#add(
          `${what} is not served: ${primary?.role} ${primary?.partitionEpoch} ${JSON.stringify(state)} states: ${others}`,
        )
        return
      }
      const expected = this.#digest(nodes[at] as ReplicaNode, primary)
      for (const position of record.inSync) {
        const machine = this.#cluster.machineOf(position)
        const replica = this.#cluster.replica(machine, partition)
        const found = replica === undefined ? 'nothing' : this.#digest(nodes[machine] as ReplicaNode, replica)
        if (found !== expected) this.#add(`${what}: n${machine} holds ${found}, its primary ${expected}`)
      }
    })
    for (const node of [...nodes, ...dead]) {
      const diverged = node?.plane?.replicator.counters.diverged ?? 0
      if (diverged > 0) this.#add(`${node?.nodeId} found ${diverged} contradictions`)
    }
  }

  #log(node: ReplicaNode, replica: Replica): void {
    const { state, partition } = replica
    if (replica.commitSequence > replica.lastSequence)
      this.#add(`${node.nodeId}: commit ${replica.commitSequence} of ${replica.lastSequence}`)
    // A learner's memory is its own affair until it is whole.
    if (state.kind === 'learner' && !state.learner.isWhole) return
    const position = `${partition}/${replica.lastEpoch}/${replica.lastSequence}`
    const name = `${node.incarnation}/${partition}`
    const seen = this.#seen.get(name)
    if (seen === replica.lastSequence) return
    this.#seen.set(name, replica.lastSequence)
    if (this.lossAllowed) return
    const digest = this.#digest(node, replica)
    const known = this.#digests.get(position)
    if (known === undefined) this.#digests.set(position, digest)
    else if (known !== digest) this.#add(`${node.nodeId} holds ${digest} at ${position}, another ${known}`)
  }

  #serves(node: ReplicaNode, replica: Replica): void {
    const epoch = `${replica.partition}/${replica.partitionEpoch}`
    const server = this.#servers.get(epoch)
    if (server === node.incarnation) return
    if (server !== undefined) this.#add(`two nodes serve ${epoch}`)
    this.#servers.set(epoch, node.incarnation)
    const acknowledged = this.#acknowledged.get(replica.partition)
    // One that stood still may end its takeover when others have gone on: it can acknowledge nothing, and what they
    // acknowledged meanwhile it need not hold.
    const record = this.#cluster.register.topology.partitions[replica.partition]
    if (record !== undefined && record.partitionEpoch > replica.partitionEpoch) return
    if (
      !this.lossAllowed &&
      acknowledged !== undefined &&
      acknowledged.partitionEpoch < replica.partitionEpoch &&
      acknowledged.sequence > replica.lastSequence
    ) {
      this.#add(
        `${node.nodeId} serves ${epoch} from ${replica.lastSequence}, ${acknowledged.sequence} was acknowledged`,
      )
    }
  }

  #digest(node: ReplicaNode, replica: Replica): string {
    const { engine } = node.plane as NonNullable<ReplicaNode['plane']>
    const { low, high } = foldDigest(engine.digest(replica.partition))
    return `${engine.entries(replica.partition)} entries ${low.toString(16)}.${high.toString(16)}`
  }

  #add(what: string): void {
    const line = `${Math.round(this.#cluster.time.monotonicMs())} ms: ${what}`
    if (this.violations.length < 20) this.violations.push(line)
  }
}
