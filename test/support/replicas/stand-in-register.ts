/**
 * The topology register reduced to what replication sees of it: one record, changed atomically, by whoever reaches a majority
 * of the machines; learned by the same. Everything in between (rounds, votes, disks) is left out, all delays are kept.
 */

import { integerBetween, type SeededRandom, uniform } from '../../../src/kernel/random.ts'
import type { BrokenRules } from '../../../src/kernel/rule-switch.ts'
import type { SimulatedHost } from '../../../src/testing/simulated-host.ts'
import type { SimulatedNetwork } from '../../../src/testing/simulated-network.ts'
import type { VirtualTime } from '../../../src/testing/virtual-time.ts'
import { applyAll } from '../../../src/topology/apply-transform.ts'
import type { Topology } from '../../../src/topology/topology.ts'
import type { Transform } from '../../../src/topology/transforms.ts'

export interface Learner {
  readonly host: SimulatedHost
  /** Whether its process runs. */
  isUp(): boolean
  learned(topology: Topology, sentMs: number): void
}

const POLL_MS = 60

export class StandInRegister {
  topology: Topology
  readonly history: Topology[] = []
  readonly #time: VirtualTime
  readonly #network: SimulatedNetwork
  readonly #random: SeededRandom
  readonly #learners: Learner[] = []
  readonly #broken: BrokenRules | undefined
  /** What nodes propose is lost while this says so. */
  refuses: ((transform: Transform) => boolean) | undefined
  /** Called with each commit and what it was made of. */
  onCommit: ((topology: Topology, transforms: readonly Transform[], by: string) => void) | undefined

  constructor(
    topology: Topology,
    time: VirtualTime,
    network: SimulatedNetwork,
    random: SeededRandom,
    broken?: BrokenRules,
  ) {
    this.topology = topology
    this.history.push(topology)
    this.#time = time
    this.#network = network
    this.#random = random
    this.#broken = broken
  }

  add(learner: Learner): void {
    this.#learners.push(learner)
    this.#poll(learner)
  }

  /** Whether a machine reaches a majority of all. */
  reaches(host: SimulatedHost): boolean {
    const up = this.#learners.filter(
      (one) =>
        one.isUp() &&
        !one.host.paused &&
        !this.#network.isCut(host.name, one.host.name) &&
        !this.#network.isCut(one.host.name, host.name),
    )
    return up.length * 2 > this.#learners.length
  }

  /** A node's proposal, on its way. It is committed if it still applies when it arrives. */
  propose(host: SimulatedHost, transforms: readonly Transform[]): void {
    if (this.refuses !== undefined && transforms.some(this.refuses)) return
    this.#time.after(this.#delayMs(), () => {
      if (this.reaches(host)) this.commit(transforms, host.name)
    })
  }

  commit(transforms: readonly Transform[], by = 'test'): boolean {
    const { topology, applied } = applyAll(this.topology, transforms, this.#broken)
    if (applied === 0) return false
    this.topology = topology
    this.history.push(topology)
    this.onCommit?.(topology, transforms, by)
    for (const learner of this.#learners) this.#tell(learner, this.#delayMs())
    return true
  }

  #tell(learner: Learner, delayMs: number): void {
    const { life } = learner.host
    const { topology } = this
    const sentMs = learner.host.monotonicMs()
    this.#time.after(delayMs, () => {
      if (!learner.isUp() || learner.host.life !== life || !this.reaches(learner.host)) return
      learner.host.receive(() => learner.learned(topology, sentMs))
    })
  }

  /** Nodes ask now and then what there is: so they learn what was not told them, and know that they are in contact. */
  #poll(learner: Learner): void {
    this.#time.after(POLL_MS * (0.5 + uniform(this.#random)), () => {
      if (learner.isUp() && !learner.host.paused) this.#tell(learner, this.#delayMs())
      this.#poll(learner)
    })
  }

  #delayMs(): number {
    return uniform(this.#random) < 0.1 ? integerBetween(this.#random, 20, 200) : 1 + 8 * uniform(this.#random)
  }
}
