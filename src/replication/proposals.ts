/**
 * Gathers what this node's primaries propose in one turn, so that one commit can carry all partitions. Nobody waits for an
 * answer: who still needs a change proposes it again when it has not come after a while.
 */

import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import type { NodeAt, PartitionAt, Transform } from '../topology/transforms.ts'

/** A proposal without effect is made again after this long, in milliseconds. */
export const PROPOSE_AGAIN_MS = 500

const GATHER_MS = 20

type Promotion = Extract<Transform, { kind: 'LearnerPromoted' }>['learners'][number]

export class Proposals {
  readonly #scheduler: Scheduler
  readonly #propose: (transform: Transform) => void
  #settled: PartitionAt[] = []
  #shrunk: NodeAt[] = []
  #moved: NodeAt[] = []
  #promoted: Promotion[] = []
  #due = false
  #timer: Timer | undefined
  /** Proposals made, by kind, for figures and tests. */
  readonly counts: Record<'Settled' | 'InSyncShrunk' | 'PrimaryMoved' | 'LearnerPromoted', number> = {
    Settled: 0,
    InSyncShrunk: 0,
    PrimaryMoved: 0,
    LearnerPromoted: 0,
  }

  constructor(scheduler: Scheduler, propose: (transform: Transform) => void) {
    this.#scheduler = scheduler
    this.#propose = propose
  }

  settle(partition: PartitionAt): void {
    this.#settled.push(partition)
    this.#soon()
  }

  shrink(member: NodeAt): void {
    this.#shrunk.push(member)
    this.#soon()
  }

  move(move: NodeAt): void {
    this.#moved.push(move)
    this.#soon()
  }

  /** Learners are brought up one after the other and are in no hurry: those of a moment share a commit. */
  promote(learner: Promotion): void {
    this.#promoted.push(learner)
    this.#timer ??= this.#scheduler.after(GATHER_MS, () => {
      this.#timer = undefined
      this.#soon()
    })
  }

  close(): void {
    this.#timer?.cancel()
  }

  #soon(): void {
    if (this.#due) return
    this.#due = true
    this.#scheduler.endOfTurn(() => this.#flush())
  }

  #flush(): void {
    this.#due = false
    const { counts } = this
    if (this.#settled.length > 0) this.#propose({ kind: 'Settled', partitions: this.#settled })
    if (this.#promoted.length > 0) this.#propose({ kind: 'LearnerPromoted', learners: this.#promoted })
    if (this.#shrunk.length > 0) this.#propose({ kind: 'InSyncShrunk', members: this.#shrunk })
    if (this.#moved.length > 0) this.#propose({ kind: 'PrimaryMoved', moves: this.#moved })
    counts.Settled += this.#settled.length
    counts.LearnerPromoted += this.#promoted.length
    counts.InSyncShrunk += this.#shrunk.length
    counts.PrimaryMoved += this.#moved.length
    this.#settled = []
    this.#promoted = []
    this.#shrunk = []
    this.#moved = []
  }
}
