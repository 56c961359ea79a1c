/** What goes into the membership state machine and what comes out. */

import type { ConnectionFailure } from '../kernel/errors.ts'
import type { GossipMessage, MemberStatus, TopologyMark } from '../wire/gossip-frames.ts'

export interface MembershipIdentity {
  readonly nodeId: string
  /** 16 hex digits. */
  readonly incarnation: string
  /** Where the others reach it. */
  readonly address: string
}

export type Verdict = MemberStatus

/** One process, as its node sees it. */
export interface MemberView extends MembershipIdentity {
  readonly verdict: Verdict
  /** With `dead` and `left`: certain and final, because no process listens or a later incarnation answers. */
  readonly proven: boolean
  readonly counter: number
  /** When the verdict or counter changed last, on this node's monotonic clock. */
  readonly sinceMs: number
  /** How late its event loop ran of late, by its last ack; for this process itself, by its own timers. */
  readonly loopLagMs: number
}

export type MembershipEvent =
  /** The timer for `dueMs` ran so much later than armed. What has arrived meanwhile is read before `tick` follows. */
  | { readonly type: 'late'; readonly lagMs: number }
  /** `dueMs` has come. `lagMs`: as `late` said. */
  | { readonly type: 'tick'; readonly lagMs: number }
  | {
      readonly type: 'message'
      readonly nodeId: string
      readonly incarnation: string
      readonly topology: TopologyMark
      readonly message: GossipMessage
    }
  /** This node's stream was welcomed by that process; `dialledMs`: when the dial began. */
  | {
      readonly type: 'stream-up'
      readonly nodeId: string
      readonly incarnation: string
      readonly dialledMs: number
    }
  /** It ended, not by this node's will. `undefined`: in an orderly way. */
  | {
      readonly type: 'stream-down'
      readonly nodeId: string
      readonly incarnation: string
      readonly failure: ConnectionFailure | undefined
    }
  /** Connecting was refused. */
  | { readonly type: 'refused'; readonly nodeId: string }
  /** Something else hints at trouble there: ask at once. */
  | { readonly type: 'check'; readonly nodeId: string }
  /** Processes that the topology names: to be watched though they have not been met. */
  | { readonly type: 'expect'; readonly members: readonly MembershipIdentity[] }
  | { readonly type: 'topology'; readonly topology: TopologyMark }
  | { readonly type: 'leave' }

export type MembershipEffect =
  /** On this node's own stream to the node. */
  | {
      readonly type: 'send'
      readonly to: string
      readonly topology: TopologyMark
      readonly message: GossipMessage
    }
  /** On the stream that the node opened to this one. */
  | {
      readonly type: 'reply'
      readonly to: string
      readonly topology: TopologyMark
      readonly message: GossipMessage
    }
  | { readonly type: 'changed'; readonly member: MemberView; readonly before: Verdict | undefined }
  /** The node has a later topology, or, with the same epoch, a different one. */
  | { readonly type: 'topology-differs'; readonly nodeId: string; readonly topology: TopologyMark }
  /** The others hold this process for proven dead or gone, for good. It has to end and start anew. */
  | { readonly type: 'condemned' }
  /** Every linked node has acknowledged the goodbye. */
  | { readonly type: 'goodbye-heard' }
