/** Takes what this node wants changed to the voter that drives: the one with the lowest id of those that answer. */

import type { Clock } from '../kernel/clock.ts'
import type { Random } from '../kernel/random.ts'
import type { Scheduler } from '../kernel/scheduler.ts'
import type { Chain } from '../topology/register/chain.ts'
import { pauseMs } from '../topology/register/patience.ts'
import { type ProposalEnd, Proposals } from '../topology/register/proposals.ts'
import type { Topology } from '../topology/topology.ts'
import { encodeTransforms } from '../topology/transform-codec.ts'
import type { Transform } from '../topology/transforms.ts'
import type { ControlLinks } from './control-links.ts'
import type { Liveness } from './liveness.ts'

export interface SuggestionsPorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly random: Random
  readonly liveness: Liveness
  readonly chain: Chain
  readonly links: ControlLinks
  /** Empty until the disk was opened. */
  diskId(): string
  /** This node is the voter that drives. */
  drive(changes: readonly Transform[]): void
}

export class Suggestions {
  readonly #nodeId: string
  readonly #ports: SuggestionsPorts
  readonly #proposals: Proposals
  #isPlanned = false
  #closed = false

  constructor(nodeId: string, ports: SuggestionsPorts) {
    this.#nodeId = nodeId
    this.#ports = ports
    this.#proposals = new Proposals(ports.random)
  }

  /** The voter that decides what is proposed, as this node sees it. */
  get driver(): string | undefined {
    return this.#ranking()[0]
  }

  /** Whether nothing is pending. */
  get isEmpty(): boolean {
    return this.#proposals.size === 0
  }

  /** @returns false when too many are pending. */
  propose(transform: Transform, ended?: (end: ProposalEnd) => void): boolean {
    const { clock, chain } = this.#ports
    const { topology } = chain
    const patienceMs = topology !== undefined ? pauseMs(topology, transform) : 0
    const taken = this.#proposals.add(transform, clock.monotonicMs(), ended, patienceMs)
    this.#flushSoon()
    return taken
  }

  /** Gives up what is not wanted any more. */
  drop(isUnwanted: (transform: Transform) => boolean): void {
    this.#proposals.drop(isUnwanted)
  }

  adopted(topology: Topology, decided: readonly Transform[] | undefined): void {
    this.#proposals.adopted(topology, decided)
  }

  /** Sends what is due; what was sent in vain before, to the next voter. */
  flush(): void {
    if (this.#closed || this.#proposals.size === 0 || this.#ports.chain.topology === undefined) return
    const nowMs = this.#ports.clock.monotonicMs()
    if (this.#proposals.nextMs() > nowMs) return
    const ranking = this.#ranking()
    if (ranking.length === 0) return
    for (const [attempt, changes] of this.#proposals.due(nowMs)) {
      const nodeId = ranking[attempt % ranking.length] as string
      if (nodeId === this.#nodeId) this.#ports.drive(changes)
      else this.#ports.links.to(nodeId)?.send({ kind: 'suggest', change: encodeTransforms(changes) })
    }
  }

  close(): void {
    this.#closed = true
  }

  #flushSoon(): void {
    if (this.#isPlanned || this.#closed) return
    this.#isPlanned = true
    this.#ports.scheduler.endOfTurn(() => {
      this.#isPlanned = false
      this.flush()
    })
  }

  /** Voters that can be reached, this node included if it is one, by id. */
  #ranking(): string[] {
    const { chain, links, liveness } = this.#ports
    const reachable = (chain.topology?.voters ?? []).filter(({ nodeId, diskId }) => {
      if (nodeId === this.#nodeId) return diskId === this.#ports.diskId()
      const peer = links.to(nodeId)?.peer
      return peer?.diskId === diskId && liveness.verdict(nodeId, peer.incarnation) === 'alive'
    })
    return reachable.map((voter) => voter.nodeId as string).sort()
  }
}
