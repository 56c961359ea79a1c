/**
 * Schedules that show what the rules of the protocol are for: who dies, who is cut off and what is written when, so that a node that
 * breaks the rule does harm, and one that keeps it does not. Harm is what a client or an operator could see (an acknowledged write that is
 * gone, a stale answer, an operation done twice), or a violated invariant.
 */

import type { PartitionEpoch } from '../../../src/kernel/ids.ts'
import type { BrokenRules, Rule } from '../../../src/kernel/rule-switch.ts'
import { foldDigest } from '../../../src/replication/epoch-fence.ts'
import { ReadCode } from '../../../src/wire/operations.ts'
import { shown, text, written } from '../../support/cluster-bench.ts'
import type { RawClient, RawResult, WriteFields } from '../../support/raw-client.ts'
import { ReplicaInvariants } from '../../support/replicas/invariants.ts'
import { ReplicaCluster, type ReplicaClusterOptions } from '../../support/replicas/replica-cluster.ts'
import { contentOf } from '../../support/version-witness.ts'

export interface Schedule {
  readonly what: string
  /** Breaking any of them does harm here. */
  readonly rules: readonly Rule[]
  /** What harm was done; undefined: none. */
  run(broken: BrokenRules | undefined): Promise<string | undefined>
}

/** A schedule of replicas over a register that is one record: what it does once all serve, and what harm it saw. */
export function schedule(
  what: string,
  rules: readonly Rule[],
  options: ReplicaClusterOptions,
  act: (bench: RuleBench) => Promise<string | undefined>,
): Schedule {
  return {
    what,
    rules,
    run: async (broken) => {
      const bench = new RuleBench({
        network: { slowShare: 0 },
        ...options,
        ...(broken === undefined ? {} : { brokenRules: broken }),
      })
      try {
        await bench.start()
        const harm = await act(bench)
        return bench.invariants.violations[0] ?? harm
      } finally {
        bench.close()
      }
    },
  }
}

/** A cluster of one partition, whose first primary is machine 0, with its invariants checked after every event. */
export class RuleBench extends ReplicaCluster {
  readonly invariants: ReplicaInvariants
  /** Called after every event. */
  onEvent: (() => void) | undefined

  constructor(options: ReplicaClusterOptions) {
    super(options)
    this.invariants = new ReplicaInvariants(this)
    this.time.afterEvent = () => {
      this.invariants.check()
      this.onEvent?.()
    }
  }

  get record(): (typeof this.register.topology.partitions)[number] {
    const [first] = this.register.topology.partitions
    if (first === undefined) throw new RangeError('no partition')
    return first
  }

  get epoch(): PartitionEpoch {
    return this.record.partitionEpoch
  }

  /** Machines of the in-sync set. */
  get inSync(): number[] {
    return this.record.inSync.map((node) => this.machineOf(node))
  }

  serves(at: number): boolean {
    return this.replica(at)?.role === 'primary'
  }

  hasLease(at: number): boolean {
    const replica = this.replica(at)
    const gate = this.nodes[at]?.plane?.replicator.reads
    return replica !== undefined && gate?.hasLease(replica) === true
  }

  entriesOf(at: number): number {
    const engine = this.node(at).plane?.engine
    return engine?.hasPartition(0) === true ? engine.entries(0) : 0
  }

  digestOf(at: number): string {
    const engine = this.node(at).plane?.engine
    if (engine === undefined) return 'nothing'
    const { low, high } = foldDigest(engine.digest(0))
    return `${engine.entries(0)} ${low} ${high}`
  }

  /** Values and all, unlike the digest. */
  contentOf(at: number): string {
    const engine = this.node(at).plane?.engine
    return engine === undefined ? 'nothing' : JSON.stringify([...contentOf(engine, 0)].sort())
  }

  /** Cuts a machine off from the others. */
  isolate(at: number): void {
    for (let other = 0; other < this.hosts.length; other++) if (other !== at) this.cut(at, other)
  }

  /** Its memory is gone, and the register knows. */
  die(at: number): void {
    const dead = this.crash(at)
    if (dead !== undefined) this.fail(dead)
  }

  /** The register holds it dead and tells it nothing, though it lives. */
  holdDead(at: number): void {
    this.fail(this.node(at))
    this.register.reaches = (host) => host.name !== `n${at}`
  }

  /** Makes it primary, unless it is. */
  moveTo(at: number): void {
    const node = this.positionOf(at)
    if (this.primaryOf() !== at)
      this.commit({ kind: 'PrimaryMoved', moves: [{ partition: 0, partitionEpoch: this.epoch, node }] })
  }

  recover(at: number): void {
    const node = this.positionOf(at)
    this.commit({ kind: 'Recovered', partitions: [{ partition: 0, partitionEpoch: this.epoch, node }] })
  }

  addLearner(at: number): boolean {
    const node = this.positionOf(at)
    return this.commit({
      kind: 'LearnerAdded',
      learners: [{ partition: 0, partitionEpoch: this.epoch, node }],
    })
  }

  /** Writes, and notes an acknowledgement: whoever serves later must hold it. @returns whether it was acknowledged */
  async write(client: RawClient, key: string, value: string, fields: WriteFields = {}): Promise<boolean> {
    const result = await this.run(client.set(key, text(value), { timeoutMs: 300, ...fields }))
    return this.noted(result)
  }

  noted(result: RawResult): boolean {
    if (typeof written(result) !== 'number') return false
    const { reader } = result
    this.invariants.acknowledged({
      partition: 0,
      partitionEpoch: reader.varint(),
      sequence: reader.varint(),
    })
    return true
  }

  async read(at: number, key: string, regionId = 0): Promise<string | undefined> {
    const client = await this.client(at)
    return shown(await this.run(client.get(key, LINEARIZABLE, regionId)))
  }

  /** What a linearizable read is answered within `limitMs`; undefined: it is not. */
  async answerWithin(client: RawClient, key: string, limitMs: number): Promise<RawResult | undefined> {
    let answer: RawResult | undefined
    void client.get(key, LINEARIZABLE).then((result) => {
      answer = result
    })
    await this.time.advance(limitMs)
    return answer
  }

  /** Lets time pass until `at` serves. @returns harm: another machine held a lease at a moment since */
  async overlaps(at: number, other: number, limitMs = 8000): Promise<string | undefined> {
    let both = false
    for (let i = 0; i < limitMs / 5; i++) {
      await this.time.advance(5)
      both ||= this.serves(at) && this.hasLease(other)
    }
    if (!this.serves(at)) throw new Error(`n${at} does not serve`)
    return both ? `n${at} serves while n${other} holds a lease` : undefined
  }
}

export const LINEARIZABLE: number = ReadCode.linearizable << 2
