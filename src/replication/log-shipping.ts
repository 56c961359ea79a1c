/**
 * When each peer is sent what the log has for it. What is in a frame is the peer's own matter (peer-log.ts).
 *
 * Messages are what replication costs, so a record leaves early only where somebody waits for it: at the end of the turn to as many
 * backups as make the quorum, and to those that were sent nothing for LAZY_MS; to the rest within LAZY_MS, in fewer and larger frames.
 * Frames to probe with, which a peer is to acknowledge though nothing is due, leave at the end of the turn too.
 *
 * A position in the topology belongs to one process: another one there is another peer, with a log of its own.
 */

import type { Clock } from '../kernel/clock.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import type { Durability, NodeIndex, Topology } from '../topology/topology.ts'
import type { SessionOutcomes } from './operation-table.ts'
import type { PeerLog } from './peer-log.ts'
import type { Replica } from './replica.ts'

export interface LogShippingPorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  /** The log to a peer that is new here. */
  open(node: NodeIndex): PeerLog
}

/** Replicas that nobody waits for get their copies at most this much later, in milliseconds. */
const LAZY_MS = 4

export class LogShipping {
  readonly #ports: LogShippingPorts
  #peers: (PeerLog | undefined)[] = []
  /** Peers to be sent to at the end of this turn. */
  readonly #eager = new Set<PeerLog>()
  /** Peers that are to acknowledge a frame sent from now on. */
  readonly #probed = new Set<PeerLog>()
  #flushDue = false
  #lazyTimer: Timer | undefined
  #closed = false

  constructor(ports: LogShippingPorts) {
    this.#ports = ports
  }

  /** Peers come and go with the topology. @param self this node's position in it; −1: it has no role, and no peers. */
  adopt(before: Topology | undefined, topology: Topology, self: NodeIndex): void {
    const count = Math.max(topology.nodes.length, this.#peers.length)
    for (let node = 0; node < count; node++) {
      const now = topology.nodes[node]
      const old = before?.nodes[node]
      const isSame = now !== undefined && now.nodeId === old?.nodeId && now.incarnation === old.incarnation
      const wanted = now !== undefined && self >= 0 && node !== self
      if (this.#peers[node] !== undefined && (!isSame || !wanted)) {
        this.#peers[node]?.stop()
        this.#peers[node] = undefined
      }
      if (wanted) this.#peers[node] ??= this.#ports.open(node)
    }
  }

  peer(node: NodeIndex): PeerLog | undefined {
    return this.#peers[node]
  }

  /** Whether the peer is linked and answers. */
  isAvailable(node: NodeIndex): boolean {
    return this.#peers[node]?.available ?? false
  }

  /** In-sync replicas, this node included, that can be expected to acknowledge now. */
  available(replica: Replica): number {
    let count = 1
    for (const member of replica.members) {
      if (member.state !== 'lagging' && this.#peers[member.node]?.available === true) count++
    }
    return count
  }

  /** How long the peer has been silent, in milliseconds; undefined when it is not linked. */
  silenceMs(node: NodeIndex): number | undefined {
    const peer = this.#peers[node]
    return peer?.linked ? this.#ports.clock.monotonicMs() - peer.lastAckMs : undefined
  }

  /** Peers learn of the session's watermark with the next records; there is no hurry. */
  moved(session: SessionOutcomes): void {
    for (const peer of this.#peers) peer?.moved.add(session)
  }

  /** A write waits until the replica's log is held that widely. */
  hurry(replica: Replica, by: Durability): void {
    let needed = by === 'all' ? replica.members.length : by === 'quorum' ? replica.quorum - 1 : 0
    const nowMs = this.#ports.clock.monotonicMs()
    for (const member of replica.members) {
      const peer = this.#peers[member.node]
      if (peer === undefined || !peer.available || member.state === 'lagging') continue
      if (needed > 0 || nowMs - peer.lastSentMs >= LAZY_MS) this.#eager.add(peer)
      needed--
    }
    if (needed > 0) this.flushSoon()
    else if (this.#eager.size > 0) this.#flushEagerSoon()
  }

  /** Sends each member a frame at the end of this turn: records that are due, or an empty one. */
  probe(replica: Replica): void {
    for (const member of replica.members) {
      const peer = this.#peers[member.node]
      if (peer === undefined) continue
      this.#eager.add(peer)
      this.#probed.add(peer)
    }
    this.#flushEagerSoon()
  }

  /** Sends what is due to every peer at the end of this turn. */
  flushSoon(): void {
    for (const peer of this.#peers) if (peer !== undefined) this.#eager.add(peer)
    this.#flushEagerSoon()
  }

  /** Sends what is due to every peer within LAZY_MS. */
  flushLater(): void {
    if (this.#closed) return
    this.#lazyTimer ??= this.#ports.scheduler.after(LAZY_MS, () => {
      this.#lazyTimer = undefined
      for (const peer of this.#peers) peer?.flush()
    })
  }

  /**
   * Shows each peer that this node is there, unless it was sent something within `periodMs`, and asks again for what went unanswered.
   * To be called more often than that.
   * @param silentMs a peer silent for this long does not count as available
   */
  heartbeat(periodMs: number, silentMs: number): void {
    const nowMs = this.#ports.clock.monotonicMs()
    for (const peer of this.#peers) {
      if (peer === undefined) continue
      peer.flush()
      if (nowMs - peer.lastSentMs >= periodMs - 1) peer.heartbeat()
      // What a peer had no room for before it may have room for now.
      peer.staged()
      peer.checkSilence(silentMs)
      peer.askAgain()
      peer.flush()
    }
  }

  /** From now on nothing is sent by itself. */
  close(): void {
    this.#closed = true
    this.#lazyTimer?.cancel()
  }

  /** Forgets all streams. */
  unlink(): void {
    for (const peer of this.#peers) peer?.stop()
  }

  #flushEagerSoon(): void {
    if (this.#flushDue || this.#closed) return
    this.#flushDue = true
    this.#ports.scheduler.endOfTurn(() => {
      this.#flushDue = false
      if (this.#closed) return
      for (const peer of this.#eager) peer.hurry()
      for (const peer of this.#probed) peer.heartbeat()
      this.#eager.clear()
      this.#probed.clear()
    })
  }
}
