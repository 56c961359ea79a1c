/**
 * Hands partitions over to another member of their in-sync set, in milliseconds (docs/protocol.md, "Learners and moves").
 *
 * ```
 * freezing ─► proposed ─► (the record says so)
 * ```
 * New writes are held off until the member has reached the end of the log; then the move is proposed. It takes over with
 * everything there is, and without waiting for a lease, since this node is there to answer. Whatever fails or takes
 * too long ends in going on as before: a proposal that is decided after all finds a primary that follows the record.
 */

import type { Clock } from '../kernel/clock.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import type { NodeIndex } from '../topology/topology.ts'
import type { NodeAt } from '../topology/transforms.ts'
import type { Proposals } from './proposals.ts'
import type { Member, Replica } from './replica.ts'

export interface PrimaryMovesPorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly proposals: Proposals
  flushSoon(): void
}

interface Move {
  readonly replica: Replica
  readonly target: Member
  readonly partitionEpoch: number
  readonly timer: Timer
  phase: 'freezing' | 'proposed'
}

/** Writes of a partition are held off for so long at most, in milliseconds. */
const MOVE_TIMEOUT_MS = 300
/** A member further behind than this many operations has to come nearer before anything is held off. */
const BEHIND_MAX = 1000
/** Partitions held off at one time. */
const MOVES_MAX = 64

export class PrimaryMoves {
  readonly #ports: PrimaryMovesPorts
  readonly #moves = new Map<Replica, Move>()

  constructor(ports: PrimaryMovesPorts) {
    this.#ports = ports
  }

  /** Begins to hand the partition over. @returns false when that can't be now: try again later */
  begin(replica: Replica, node: NodeIndex): boolean {
    const target = replica.member(node)
    if (replica.role !== 'primary' || target?.state !== 'following' || replica.frozen) return false
    // The commit would be refused, or the move would take long.
    if (replica.settleSequence !== Number.POSITIVE_INFINITY || this.#moves.size >= MOVES_MAX) return false
    if (replica.lastSequence - target.acked > BEHIND_MAX) return false
    replica.frozen = true
    const timer = this.#ports.scheduler.after(MOVE_TIMEOUT_MS, () => this.end(replica))
    const { partitionEpoch } = replica
    this.#moves.set(replica, { replica, target, partitionEpoch, timer, phase: 'freezing' })
    this.#ports.flushSoon()
    this.advanced(replica)
    return true
  }

  /** Acknowledgements rose. */
  advanced(replica: Replica): void {
    const move = this.#moves.get(replica)
    if (move === undefined || move.phase !== 'freezing') return
    if (move.partitionEpoch !== replica.partitionEpoch || move.target.state !== 'following') {
      this.end(replica)
      return
    }
    if (move.target.acked < replica.lastSequence) return
    move.phase = 'proposed'
    this.#ports.proposals.move({
      partition: replica.partition,
      partitionEpoch: replica.partitionEpoch as NodeAt['partitionEpoch'],
      node: move.target.node,
    })
  }

  /** The move is over, come what may: writes go on, here or elsewhere. */
  end(replica: Replica): void {
    const move = this.#moves.get(replica)
    if (move === undefined) return
    this.#moves.delete(replica)
    move.timer.cancel()
    replica.frozen = false
  }

  close(): void {
    for (const replica of [...this.#moves.keys()]) this.end(replica)
  }
}
