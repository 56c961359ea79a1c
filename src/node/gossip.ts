/**
 * Membership on real streams: performs what the state machine (membership/membership.ts) asks for.
 *
 * Each node keeps one stream of the lane `gossip` to each other node, on a connection of its own, so that data cannot delay
 * it; it asks on that stream, and the accepting node answers there.
 *
 * **Wiring into a node.** Make one per process, with its identity, the nodes of cluster.yaml and its ports; `start` it when
 * the node listens. Then:
 * - give it each accepted stream whose PEER_HELLO names lane `gossip`: `PeerSessionPorts.gossip = (stream, hello) =>
 *   gossip.adopt(stream, hello)`. (`accept` does the handshake too, where nothing else shares the listener.)
 * - `setTopology(epoch, hash)` at each commit, `expect(processes)` with those it names, `setPeers` when its nodes change.
 *   `topologyDiffers` says whom to fetch a later record from.
 * - `streamLost(nodeId, error)` when a stream of another lane ends, so that a death is looked into at once.
 * - act on `changed`: `dead` and `left` are reasons to propose a change to the topology; `proven` says that the process certainly
 *   serves no more. On `condemned` stop serving and start a new process: the others will never take this one back.
 * - at the end stop serving, `await leave()`, `close()`, and only then close the listener.
 *
 * **Stalls.** After a stall of the event loop, expired timers run before the sockets are read. So when the timer fires its
 * lateness is noted, and two turns later, with everything read that had arrived, the state machine decides.
 */

import type { Clock } from '../kernel/clock.ts'
import { CacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import type { Random } from '../kernel/random.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import type {
  MembershipEffect,
  MembershipEvent,
  MembershipIdentity,
  MemberView,
  Verdict,
} from '../membership/events.ts'
import { Membership } from '../membership/membership.ts'
import type { MembershipCounters } from '../membership/membership-counters.ts'
import { type MembershipOptions, resolveMembershipOptions } from '../membership/options.ts'
import { decodeGossip, encodeGossip, isGossipAnswer } from '../wire/gossip-frames.ts'
import { negotiate } from '../wire/handshake.ts'
import { encodePeerWelcome, type PeerHello } from '../wire/peer-frames.ts'
import type { Dialer, FrameHandler, FrameStream } from '../wire/transport.ts'
import { acceptGossip } from './gossip-acceptor.ts'
import { type GossipIdentity, GossipLink, type GossipLinkHandler } from './gossip-link.ts'

export interface GossipPorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly random: Random
  readonly log: Log
  readonly dialer: Dialer
}

/** Called synchronously, and must not throw. */
export interface GossipHandler {
  /** A verdict on a process changed; `before` is undefined when it was heard of for the first time. */
  changed(member: MemberView, before: Verdict | undefined): void
  /** The node has a later topology, or another with the same epoch. Told with every message until that is no longer so. */
  topologyDiffers(nodeId: string, epoch: number, hash: number): void
  condemned(): void
}

export interface GossipPeer {
  readonly nodeId: string
  readonly address: string
}

/** How long `leave` waits to be heard. */
const LEAVE_TIMEOUT_MS = 1000
const QUEUE_BYTES_MAX = 256 * 1024

interface Accepted {
  readonly stream: FrameStream
  readonly hello: PeerHello
}

export class Gossip implements GossipLinkHandler {
  readonly #identity: GossipIdentity
  readonly #ports: GossipPorts
  readonly #handler: GossipHandler
  readonly #core: Membership
  readonly #links = new Map<string, GossipLink>()
  /** By node id: the newest stream it opened to this node. */
  readonly #accepted = new Map<string, Accepted>()
  #peers: readonly GossipPeer[]
  #timer: { readonly timer: Timer; readonly dueMs: number } | undefined
  /** A timer has fired, and what has arrived meanwhile is being read. */
  #isDeciding = false
  #state: 'new' | 'running' | 'closed' = 'new'
  #heard: (() => void) | undefined

  /** @throws CacheError CONFIGURATION when an option is out of its range. */
  constructor(
    identity: GossipIdentity,
    peers: readonly GossipPeer[],
    ports: GossipPorts,
    handler: GossipHandler,
    options: Partial<MembershipOptions> = {},
  ) {
    this.#identity = identity
    this.#peers = peers
    this.#ports = ports
    this.#handler = handler
    const { nodeId, incarnation, address } = identity
    this.#core = new Membership(
      { nodeId, incarnation, address },
      resolveMembershipOptions(options),
      ports.random,
      ports.clock.monotonicMs(),
    )
  }

  start(): void {
    if (this.#state !== 'new') throw new CacheError('INTERNAL', 'gossip starts once')
    this.#state = 'running'
    this.#tendLinks()
    this.#arm()
  }

  /** This process first, then every other that is known, those that ended included. */
  members(): MemberView[] {
    return this.#core.members()
  }

  get counters(): MembershipCounters {
    return this.#core.counters
  }

  /** 0..8: how much this process doubts its own health. */
  get awareness(): number {
    return this.#core.awareness
  }

  /** News waiting to be passed on, and pieces that had to give way. */
  get news(): { readonly size: number; readonly dropped: number } {
    return this.#core.news
  }

  /** The nodes to keep in touch with whether or not a process of theirs is known. */
  setPeers(peers: readonly GossipPeer[]): void {
    this.#peers = peers
    this.#tendLinks()
  }

  /** Processes that the topology names: watched from now on, though they may never have been met. */
  expect(members: readonly MembershipIdentity[]): void {
    this.#handle({ type: 'expect', members })
  }

  /** @param hash of the topology record, 0..2^32 − 1. */
  setTopology(epoch: number, hash: number): void {
    this.#handle({ type: 'topology', topology: { epoch, hash } })
  }

  /** A stream of another lane to this node ended, or could not be opened. */
  streamLost(nodeId: string, error: CacheError | undefined): void {
    if (this.#state !== 'running' || error?.code !== 'UNAVAILABLE') return
    const link = this.#links.get(nodeId)
    if (link?.incarnation !== undefined) this.#handle({ type: 'check', nodeId })
    else link?.dial()
  }

  /** Handles a stream from its first frame on. For listeners that carry nothing but gossip. */
  accept(stream: FrameStream): FrameHandler {
    return acceptGossip(stream, this.#identity, this.#ports.scheduler, (hello) => this.adopt(stream, hello))
  }

  /**
   * Takes over an accepted stream whose PEER_HELLO was found good; answers it. The handler throws CacheError when a frame is
   * malformed: tell the peer and end the stream.
   */
  adopt(stream: FrameStream, hello: PeerHello): FrameHandler {
    const { nodeId, incarnation } = hello
    const older = this.#accepted.get(nodeId)
    if (older?.hello.incarnation === incarnation && older.hello.streamNumber > hello.streamNumber)
      throw new CacheError('CLOSED', 'a newer gossip stream of this process stands already')
    const mine: Accepted = { stream, hello }
    this.#accepted.set(nodeId, mine)
    older?.stream.close()
    stream.send(
      encodePeerWelcome({
        version: negotiate(hello.versionMin, hello.versionMax),
        nodeId: this.#identity.nodeId,
        incarnation: this.#identity.incarnation,
        diskId: this.#identity.diskId(),
        clusterId: this.#identity.clusterId(),
        epoch: this.#core.epoch,
      }),
    )
    return {
      frame: (body) => {
        if (this.#accepted.get(nodeId) === mine) this.#receive(nodeId, incarnation, body, false)
      },
      drained: () => {},
      closed: () => {
        if (this.#accepted.get(nodeId) === mine) this.#accepted.delete(nodeId)
      },
    }
  }

  /** Says goodbye. Resolves when every linked node has acknowledged it, or after a second. Call it when serving has stopped. */
  leave(): Promise<void> {
    if (this.#state !== 'running') return Promise.resolve()
    const heard = new Promise<void>((resolve) => {
      const timer = this.#ports.scheduler.after(LEAVE_TIMEOUT_MS, () => this.#heard?.())
      this.#heard = () => {
        timer.cancel()
        resolve()
      }
    })
    this.#handle({ type: 'leave' })
    return heard
  }

  close(): void {
    this.#state = 'closed'
    this.#heard?.()
    this.#timer?.timer.cancel()
    for (const link of this.#links.values()) link.close()
    for (const { stream } of this.#accepted.values()) stream.close()
    this.#links.clear()
    this.#accepted.clear()
  }

  up(link: GossipLink, incarnation: string, dialledMs: number): void {
    this.#handle({ type: 'stream-up', nodeId: link.nodeId, incarnation, dialledMs })
  }

  down(link: GossipLink, incarnation: string, failure: CacheError['failure']): void {
    this.#handle({ type: 'stream-down', nodeId: link.nodeId, incarnation, failure })
  }

  refused(link: GossipLink): void {
    this.#handle({ type: 'refused', nodeId: link.nodeId })
  }

  received(link: GossipLink, incarnation: string, body: Uint8Array): void {
    this.#receive(link.nodeId, incarnation, body, true)
  }

  #receive(nodeId: string, incarnation: string, body: Uint8Array, isOwnStream: boolean): void {
    const { topology, message } = decodeGossip(body)
    if (isGossipAnswer(message) !== isOwnStream)
      throw new CacheError('PROTOCOL_ERROR', `${message.type} is for the other direction of a gossip stream`)
    this.#handle({ type: 'message', nodeId, incarnation, topology, message })
  }

  #handle(event: MembershipEvent): void {
    if (this.#state === 'closed') return
    for (const effect of this.#core.handle(event, this.#ports.clock.monotonicMs())) this.#perform(effect)
    this.#arm()
  }

  #perform(effect: MembershipEffect): void {
    switch (effect.type) {
      case 'send':
        this.#links.get(effect.to)?.send(encodeGossip(effect.topology, effect.message))
        return
      case 'reply': {
        const stream = this.#accepted.get(effect.to)?.stream
        // A peer that does not read its answers gets none.
        if (stream !== undefined && stream.queuedBytes <= QUEUE_BYTES_MAX)
          stream.send(encodeGossip(effect.topology, effect.message))
        return
      }
      case 'changed':
        this.#tendLinks(effect.member)
        this.#handler.changed(effect.member, effect.before)
        return
      case 'topology-differs':
        this.#handler.topologyDiffers(effect.nodeId, effect.topology.epoch, effect.topology.hash)
        return
      case 'condemned':
        this.#ports.log.error('the other nodes hold this process for dead: it has to be started anew', {})
        this.#handler.condemned()
        return
      case 'goodbye-heard':
        this.#heard?.()
    }
  }

  /** Opens, redirects and closes links as the members ask for. */
  #tendLinks(changed?: MemberView): void {
    if (this.#state !== 'running') return
    const wanted = new Map(this.#peers.map(({ nodeId, address }) => [nodeId, address]))
    for (const member of this.#core.members())
      if (!member.proven && member.verdict !== 'left') wanted.set(member.nodeId, member.address)
    wanted.delete(this.#identity.nodeId)
    for (const [nodeId, link] of this.#links) {
      if (wanted.has(nodeId)) continue
      link.close()
      this.#links.delete(nodeId)
    }
    for (const [nodeId, address] of wanted) this.#tend(nodeId, address, changed)
  }

  #tend(nodeId: string, address: string, changed: MemberView | undefined): void {
    const link = this.#links.get(nodeId)
    if (link === undefined) {
      const opened = new GossipLink(nodeId, address, this.#identity, this.#ports, this)
      this.#links.set(nodeId, opened)
      opened.dial()
      return
    }
    link.address = address
    if (changed?.nodeId !== nodeId || changed.verdict !== 'alive') return
    // A process not met before, or one that came back.
    if (link.incarnation === undefined) link.dial()
    else if (link.incarnation !== changed.incarnation) link.redial()
  }

  /** Sets the timer to when the state machine wants it. */
  #arm(): void {
    if (this.#state !== 'running' || this.#isDeciding) return
    const { clock, scheduler } = this.#ports
    const nowMs = clock.monotonicMs()
    const dueMs = Math.max(nowMs, this.#core.dueMs)
    if (this.#timer !== undefined && this.#timer.dueMs === dueMs) return
    this.#timer?.timer.cancel()
    const timer = scheduler.after(dueMs - nowMs, () => {
      const lagMs = Math.max(0, clock.monotonicMs() - dueMs)
      this.#timer = undefined
      this.#isDeciding = true
      this.#handle({ type: 'late', lagMs })
      scheduler.nextTurn(() =>
        scheduler.nextTurn(() => {
          this.#isDeciding = false
          this.#handle({ type: 'tick', lagMs })
        }),
      )
    })
    this.#timer = { timer, dueMs }
  }
}
