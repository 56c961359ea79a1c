/**
 * Watches the topologies that nodes take up: that all agree on each epoch, and what changed from one to the next.
 */

import type { NodeCore } from '../../../src/node/node-core.ts'
import type { PartitionRecord, Topology } from '../../../src/topology/topology.ts'
import { isBlocked, lacksValidSet } from '../../../src/topology/validity.ts'
import type { Coverage } from './coverage.ts'
import type { RunLog } from './run-log.ts'

export class TopologyWatch {
  readonly #coverage: Coverage
  readonly #log: RunLog
  /** By epoch: what the first node that had it held. */
  readonly #known = new Map<number, string>()
  readonly #heldBy = new WeakMap<NodeCore, number>()
  #newest: Topology | undefined
  /** Partitions that started over, and when first: what was acknowledged there before may be lost. */
  readonly recovered: Map<number, number> = new Map()
  readonly #nowMs: () => number

  constructor(coverage: Coverage, log: RunLog, nowMs: () => number) {
    this.#coverage = coverage
    this.#nowMs = nowMs
    this.#log = log
  }

  get newest(): Topology | undefined {
    return this.#newest
  }

  look(nodeId: string, core: NodeCore): void {
    const { topology } = core.control
    if (topology === undefined) return
    const epoch = topology.epoch as number
    const before = this.#heldBy.get(core) ?? 0
    if (epoch === before) return
    this.#heldBy.set(core, epoch)
    if (epoch < before) this.#log.violation(`${nodeId} went back from epoch ${before} to ${epoch}`)
    const hash = core.control.recordHash
    const known = this.#known.get(epoch)
    if (known === undefined) this.#known.set(epoch, hash)
    else if (known !== hash) this.#log.violation(`two topologies of epoch ${epoch}; one is ${nodeId}'s`)
    if (this.#newest === undefined || epoch > this.#newest.epoch) {
      if (this.#newest !== undefined) this.#compare(this.#newest, topology)
      this.#newest = topology
    }
  }

  #compare(before: Topology, after: Topology): void {
    this.#coverage.epochs += after.epoch - before.epoch
    const changes: string[] = []
    after.partitions.forEach((partition, index) => {
      const earlier = before.partitions[index]
      if (earlier === undefined || partition === earlier) return
      this.#compareOne(before, index, earlier, partition, changes)
      if (isBlocked(after, partition) && !isBlocked(before, earlier)) this.#coverage.blocked++
    })
    const nodes = after.nodes.map((node, i) => `${i}=${node.nodeId}:${node.state}`).join(' ')
    this.#log.say(`epoch ${after.epoch}: ${nodes}; ${changes.join('; ')}`)
  }

  #compareOne(
    before: Topology,
    index: number,
    earlier: PartitionRecord,
    partition: PartitionRecord,
    changes: string[],
  ): void {
    const coverage = this.#coverage
    if (partition.primary !== earlier.primary) coverage.takeovers++
    const added = partition.inSync.filter((node) => !earlier.inSync.includes(node))
    const removed = earlier.inSync.filter((node) => !partition.inSync.includes(node))
    if (partition.primary === earlier.primary) coverage.shrinks += removed.length
    coverage.promotions += added.length
    for (const learner of partition.learners) {
      if (!earlier.learners.some(({ node, session }) => node === learner.node && session === learner.session))
        coverage.learners++
    }
    if (partition.unsettled.length === 0 && earlier.unsettled.length > 0) coverage.settled++
    if (partition.recoveredAt > earlier.recoveredAt) {
      coverage.recovered++
      if (!this.recovered.has(index)) this.recovered.set(index, this.#nowMs())
      if (!lacksValidSet(before, earlier))
        this.#log.violation(`partition ${index} started over though it had a valid set`)
    }
    if (text(partition) !== text(earlier)) changes.push(`p${index} ${text(partition)}`)
  }
}

function text({ partitionEpoch, primary, inSync, learners, unsettled }: PartitionRecord): string {
  const parts = [`e${partitionEpoch}`, `P${primary}`, `S[${inSync.join()}]`]
  if (learners.length > 0) parts.push(`L[${learners.map((learner) => learner.node).join()}]`)
  if (unsettled.length > 0)
    parts.push(`U${unsettled.map((set) => `${set.primary}[${set.members.join()}]`).join('')}`)
  return parts.join(' ')
}
