/**
 * What this node does for the primaries of its replicas: answers what they ask, gives them what they lack, and is brought up by them.
 * One receiver per stream takes their logs; its grants are counted here.
 */

import type { Engine } from '../engine/engine.ts'
import { ByteReader } from '../kernel/bytes.ts'
import type { Clock } from '../kernel/clock.ts'
import { CacheError } from '../kernel/errors.ts'
import { type BrokenRules, keeps } from '../kernel/rule-switch.ts'
import type { Scheduler } from '../kernel/scheduler.ts'
import type { NodeIndex } from '../topology/topology.ts'
import { FrameType } from '../wire/frames.ts'
import { decodeAsk, decodeCompare, decodeFetchTail, encodePositions } from '../wire/replica-frames.ts'
import type { AntiEntropy } from './anti-entropy.ts'
import type { Applier } from './applier.ts'
import { EpochFence } from './epoch-fence.ts'
import type { KeptLog } from './kept-log.ts'
import type { LeaseGrants } from './lease-grants.ts'
import type { LogFollower } from './log-follower.ts'
import type { OperationTable } from './operation-table.ts'
import type { Replica } from './replica.ts'
import type { ReceiverPorts, ReplicaReceiver } from './replica-receiver.ts'
import type { StageInbox } from './stage-inbox.ts'
import { SyncTarget } from './sync-target.ts'
import { TailSource } from './tail-source.ts'

export interface FollowerServicesPorts {
  readonly engine: Engine
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly brokenRules: BrokenRules | undefined
  readonly applier: Applier
  readonly operations: OperationTable
  readonly stages: StageInbox
  readonly kept: KeptLog
  readonly follower: LogFollower
  readonly grants: LeaseGrants
  readonly antiEntropy: AntiEntropy
  /** Partitions this node is brought up in at a time. */
  readonly sessionsMax: number
  replica(partition: number): Replica | undefined
  replicas(): Iterable<Replica>
  /** Puts the replica under the epoch of `primary`, as its backup or, when `session` is not 0, still as its learner. */
  adopt(replica: Replica, partitionEpoch: number, primary: NodeIndex, session: number): void
  contradicted(replica: Replica, what: string): void
  rolledBack(replica: Replica, writes: number): void
}

export class FollowerServices {
  readonly #ports: FollowerServicesPorts
  readonly #receivers = new Map<NodeIndex, ReplicaReceiver>()
  readonly #fence: EpochFence
  readonly #tails: TailSource
  readonly #learning: SyncTarget

  constructor(ports: FollowerServicesPorts) {
    this.#ports = ports
    const { engine, clock, brokenRules, kept } = ports
    this.#fence = new EpochFence({
      engine,
      monotonicMs: () => clock.monotonicMs(),
      replica: (partition) => ports.replica(partition),
      adopt: (replica, partitionEpoch, primary, session) =>
        ports.adopt(replica, partitionEpoch, primary, session),
      contradicted: (replica, node) =>
        ports.contradicted(
          replica,
          `node ${node} claims epoch ${replica.partitionEpoch}, which node ${replica.primary} has`,
        ),
      answersUnadopted: !keeps(brokenRules, 'adopt-before-answer'),
      anyLearnerCounts: !keeps(brokenRules, 'promote-only-whole'),
    })
    this.#tails = new TailSource({
      backlog: kept.backlog,
      replica: (partition) => ports.replica(partition),
      missingStage: (node, record) => kept.missingStage(node, record),
    })
    this.#learning = new SyncTarget({
      engine,
      applier: ports.applier,
      operations: ports.operations,
      stages: ports.stages,
      sessionsMax: ports.sessionsMax,
      monotonicMs: () => clock.monotonicMs(),
      replica: (partition) => ports.replica(partition),
      replicas: () => ports.replicas(),
      send: (node, message) => this.#receivers.get(node)?.send(message),
      rolledBack: (replica, writes) => ports.rolledBack(replica, writes),
      forgets: keeps(brokenRules, 'learner-forgets'),
      replacesUnverified: keeps(brokenRules, 'unverified-replaced'),
      checksSession: keeps(brokenRules, 'learner-session'),
      keepsByVersion: keeps(brokenRules, 'listed-by-version'),
    })
  }

  /** Who takes the log that the node sends to this one. */
  receiver(node: NodeIndex): ReplicaReceiver | undefined {
    return this.#receivers.get(node)
  }

  /** What a receiver of a peer's log needs, one for each stream. */
  receiverPorts(): ReceiverPorts {
    const { clock, scheduler, brokenRules, follower, operations, grants, replica } = this.#ports
    return {
      follower,
      operations,
      clock,
      scheduler,
      replica,
      opened: (receiver) => this.#receivers.set(receiver.node, receiver),
      closed: (receiver) => {
        if (this.#receivers.get(receiver.node) === receiver) this.#receivers.delete(receiver.node)
      },
      acknowledging: (node) => grants.granted(node, clock.monotonicMs()),
      learned: (learner) => this.#learning.learned(learner),
      takesAnyEpoch: !keeps(brokenRules, 'backup-epoch-fence'),
    }
  }

  /**
   * A frame other than of the log that a peer sent on a stream it opened.
   * @throws CacheError PROTOCOL_ERROR when it is malformed, or of no type known here.
   */
  asked(receiver: ReplicaReceiver, body: Uint8Array): void {
    const r = new ByteReader(body, 1)
    switch (body[0]) {
      case FrameType.ask:
        receiver.send(encodePositions(this.#fence.answer(receiver.node, decodeAsk(r))))
        return
      case FrameType.fetchTail: {
        const tail = this.#tails.answer(receiver.node, decodeFetchTail(r))
        if (tail !== undefined) receiver.send(tail)
        return
      }
      case FrameType.syncBegin:
        this.#learning.begin(receiver.node, body)
        return
      case FrameType.syncIds:
        this.#learning.ids(receiver.node, body)
        return
      case FrameType.syncRange:
        this.#learning.range(receiver.node, body)
        return
      case FrameType.syncEnd:
        this.#learning.end(receiver.node, body)
        return
      case FrameType.compare:
        receiver.send(this.#ports.antiEntropy.answer(receiver.node, decodeCompare(r)))
        return
      default:
        throw new CacheError('PROTOCOL_ERROR', `unexpected frame type 0x${(body[0] ?? 0).toString(16)}`)
    }
  }
}
