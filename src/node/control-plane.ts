/**
 * Who owns what, on this node: the committed topology, how the node comes to be part of it, and how changes are proposed and learned.
 *
 * Life: it opens what its disk kept. With a topology there, it goes on from it: meets the others, catches up, and asks to be taken back
 * (NodeRestarted). Without one it meets the nodes it was told of: when one of them knows a topology, it joins (NodeJoined); when none
 * does, they found a cluster (bootstrap.ts).
 *
 * Changes are collected and sent to the voter that drives: the one with the lowest id of those that answer. What is decided is pushed to
 * every node; one that missed it hears of the higher epoch with the next contact and fetches what it lacks.
 *
 * Everything here is slow path: a handful of frames per second and node.
 */

import type { Clock } from '../kernel/clock.ts'
import type { DurableStore } from '../kernel/durable-store.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import type { Random } from '../kernel/random.ts'
import { type BrokenRules, keeps } from '../kernel/rule-switch.ts'
import type { Scheduler } from '../kernel/scheduler.ts'
import { decodeTopology, encodeTopology } from '../topology/codec.ts'
import { Chain } from '../topology/register/chain.ts'
import type { ProposalEnd } from '../topology/register/proposals.ts'
import { RegisterStore } from '../topology/register/register-store.ts'
import { VoterContact } from '../topology/register/voter-contact.ts'
import type { NodeIndex, Topology } from '../topology/topology.ts'
import { decodeTransforms } from '../topology/transform-codec.ts'
import type { Transform } from '../topology/transforms.ts'
import { voterName, voterNames } from '../topology/voters.ts'
import type { ControlMessage, Remembered } from '../wire/control-frames.ts'
import { PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN } from '../wire/frames.ts'
import { encodePeerHello, type PeerHello, type PeerWelcome } from '../wire/peer-frames.ts'
import type { Dialer, FrameHandler, FrameStream } from '../wire/transport.ts'
import { Admission } from './admission.ts'
import { Bootstrap, type BootstrapEffect } from './bootstrap.ts'
import type { ControlLink, ControlLinkHandler } from './control-link.ts'
import { ControlLinks } from './control-links.ts'
import { ControlSession, type ControlSessionHandler } from './control-session.ts'
import { DeathWatch } from './death-watch.ts'
import { DriverDuties } from './driver-duties.ts'
import { NodeCalls } from './jobs/node-calls.ts'
import type { Liveness } from './liveness.ts'
import { Memories } from './memories.ts'
import { type NodeOptions, ownAddress } from './options.ts'
import { Pulse } from './pulse.ts'
import { Register } from './register.ts'
import { Suggestions } from './suggestions.ts'
import { asAnswer, TopologyFeed } from './topology-feed.ts'

export interface ControlPlanePorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly random: Random
  readonly log: Log
  readonly dialer: Dialer
  readonly store: DurableStore
  readonly liveness: Liveness
  /** Rules of the protocol that a test breaks. */
  readonly brokenRules?: BrokenRules | undefined
  /** Whether this process may ask for a role: before that it brings back what its disk kept. By default it may. */
  readonly mayJoin?: () => boolean
  /** A stream to that node ended, or could not be opened. */
  streamLost(nodeId: string, error: CacheError | undefined): void
  /** A newer topology is known. Epochs may be skipped. @param self this process's position in it, −1: it has none */
  adopted(topology: Topology, encoded: Uint8Array, self: NodeIndex): void
  /** The node can't go on. */
  failed(error: CacheError): void
}

/** Nothing has gone on once the topology has stood for so long, and its nodes are there: longer than any wait of the driver's. */
const QUIET_AFTER_MS = 5_000
const CONTACT_MS = 500
/** While the node is not part of the cluster, or knows none. */
const CONTACT_EAGER_MS = 100

export class ControlPlane implements ControlLinkHandler, ControlSessionHandler {
  readonly #options: NodeOptions
  readonly #incarnation: string
  readonly #ports: ControlPlanePorts
  readonly #chain = new Chain()
  readonly #contact = new VoterContact()
  readonly #suggestions: Suggestions
  readonly #feed: TopologyFeed
  readonly #links: ControlLinks
  readonly #admission: Admission
  readonly #sessions = new Set<ControlSession>()
  readonly #duties: DriverDuties
  readonly #deaths: DeathWatch
  readonly #isAnotherNode: boolean
  /** What jobs have done on other nodes. */
  readonly calls: NodeCalls
  /** What nodes brought back from their snapshots. */
  readonly memories: Memories = new Memories()
  /** What this one did, once that is known. */
  #remembered: readonly Remembered[] | undefined
  #store: RegisterStore | undefined
  #register: Register | undefined
  #bootstrap: Bootstrap | undefined
  readonly #pulse: Pulse
  #adoptedMs = 0
  #contactDueMs = 0
  #closed = false

  constructor(options: NodeOptions, incarnation: string, ports: ControlPlanePorts) {
    this.#options = options
    this.#incarnation = incarnation
    this.#ports = ports
    this.#pulse = new Pulse({
      scheduler: ports.scheduler,
      beat: () => this.#tick(),
      restMs: () => this.#restMs(),
    })
    this.#links = new ControlLinks(options, ports, this)
    this.calls = new NodeCalls(options.nodeId, { ...ports, linkTo: (nodeId) => this.#links.to(nodeId) })
    this.#feed = new TopologyFeed(options, {
      ...ports,
      chain: this.#chain,
      links: this.#links,
      store: () => this.#store,
      found: () => this.#bootstrap?.stop(),
      adopted: (isKept) => this.#adopted(isKept),
    })
    this.#suggestions = new Suggestions(options.nodeId, {
      ...ports,
      chain: this.#chain,
      links: this.#links,
      diskId: () => this.diskId,
      drive: (changes) => this.#drive(changes),
    })
    this.#admission = new Admission(options, incarnation)
    this.#duties = new DriverDuties(
      options,
      ports.clock,
      ports.liveness,
      this.memories,
      (nodeId) => this.#links.to(nodeId) !== undefined,
    )
    this.#deaths = new DeathWatch(ports.liveness)
    this.#isAnotherNode = keeps(ports.brokenRules, 'restart-is-another-node')
  }

  /** Opens what the disk kept and meets the others. Returns at once. */
  start(): void {
    RegisterStore.open(this.#ports.store, this.#ports.random).then(
      (store) => {
        if (!this.#closed) this.#opened(store)
      },
      (error: unknown) => this.#ports.failed(toCacheError(error)),
    )
  }

  /** A verdict on some process changed. */
  livenessChanged(): void {
    this.#reportDeaths()
    this.#pulse.stir()
  }

  /** Another node is said to know another topology. */
  heardOf(nodeId: string, epoch: number): void {
    const link = this.#links.to(nodeId)
    if (epoch > this.epoch && link !== undefined) this.#feed.fetch(link)
  }

  get topology(): Topology | undefined {
    return this.#chain.topology
  }

  get epoch(): number {
    return this.#chain.epoch
  }

  /** Fingerprint of the record, for gossip. */
  get recordHash(): string {
    return this.#chain.hash
  }

  /** Empty until the disk was opened. */
  get diskId(): string {
    return this.#store?.diskId ?? ''
  }

  get clusterId(): string {
    return this.#chain.topology?.clusterId ?? ''
  }

  /** This process's position; −1: it has none. */
  get self(): NodeIndex {
    const incarnation = this.#isAnotherNode ? this.#incarnation : undefined
    return positionOf(this.#chain.topology, this.#options.nodeId, incarnation)
  }

  /** The voter that decides what is proposed, as this node sees it. */
  get driver(): string | undefined {
    return this.#suggestions.driver
  }

  /** Nodes that are still to be met before a cluster can be founded. */
  missing(): string[] {
    return this.#chain.topology === undefined ? (this.#bootstrap?.missing() ?? []) : []
  }

  /** How the stream to that node fares. */
  linkTo(nodeId: string): { readonly linked: boolean; readonly reason: string | undefined } {
    const link = this.#links.to(nodeId)
    return { linked: link?.peer !== undefined, reason: link?.lastError?.message }
  }

  /** Monotonic time of the last proof of contact with a majority of the voters; −∞: there was none. */
  voterContactMs(): number {
    return this.#contact.contactMs
  }

  /** Whether that process serves no more for certain: it ended as gossip saw, left, or a later process of its node is known. */
  isProvenDead(node: NodeIndex): boolean {
    const { topology } = this.#chain
    const record = topology?.nodes[node]
    if (topology === undefined || record === undefined) return false
    const { nodeId, incarnation, state } = record
    if (nodeId === this.#options.nodeId) return incarnation !== this.#incarnation
    const { liveness } = this.#ports
    // Whoever says goodbye answers nobody any more: see NodeCore.leave.
    if (liveness.isProvenDead(nodeId, incarnation) || liveness.verdict(nodeId, incarnation) === 'left')
      return true
    return state === 'gone' && topology.nodes.some((one) => one.nodeId === nodeId && one.state !== 'gone')
  }

  /** This process has loaded what its snapshots hold of these partitions: all nodes are told. */
  remembers(partitions: readonly Remembered[]): void {
    this.#remembered = partitions
    this.memories.heard(this.#options.nodeId, this.#incarnation, partitions)
    this.#links.sendToAll({ kind: 'remembers', partitions })
    this.#pulse.beatSoon()
  }

  /** Fire and forget: what comes of it shows in a later topology. */
  propose(transform: Transform): void {
    this.#suggestions.propose(transform)
    this.#pulse.stir()
  }

  /** Resolves with how the proposal ended. */
  submit(transform: Transform): Promise<ProposalEnd> {
    return new Promise((resolve) => {
      if (!this.#suggestions.propose(transform, resolve))
        resolve({ kind: 'refused', reason: 'too many proposals are pending' })
      this.#pulse.stir()
    })
  }

  /** A control stream of another node, after its PEER_HELLO was found good. */
  accept(stream: FrameStream, hello: PeerHello): FrameHandler {
    const session = new ControlSession(stream, hello, this)
    this.#sessions.add(session)
    return session
  }

  /** The node stops: when it is held gone it does not come back by itself. */
  leave(): void {
    this.#admission.leave()
  }

  close(): void {
    this.#closed = true
    this.calls.close()
    this.#suggestions.close()
    this.#feed.close()
    this.#pulse.close()
    this.#register?.close()
    this.#links.close()
  }

  // What links report.

  hello(streamNumber: number): Uint8Array {
    return encodePeerHello({
      versionMin: PROTOCOL_VERSION_MIN,
      versionMax: PROTOCOL_VERSION_MAX,
      clusterName: this.#options.clusterName,
      clusterId: this.clusterId,
      nodeId: this.#options.nodeId,
      incarnation: this.#incarnation,
      diskId: this.diskId,
      address: ownAddress(this.#options),
      targetNodeId: '',
      targetIncarnation: '',
      streamNumber,
      lane: 'control',
    })
  }

  welcomed(link: ControlLink, peer: PeerWelcome): void {
    if (peer.nodeId === this.#options.nodeId) {
      // A list of seeds may name this node itself.
      this.#links.drop(link)
      return
    }
    if (this.clusterId !== '' && peer.clusterId !== '' && peer.clusterId !== this.clusterId) {
      link.hangUp(`${peer.nodeId} belongs to cluster ${peer.clusterId}, this node to ${this.clusterId}`)
      return
    }
    if (peer.epoch > this.epoch) this.#feed.fetch(link)
    else if (this.#chain.topology === undefined && peer.clusterId === '')
      this.#perform(this.#bootstrap?.met(peer.nodeId, peer))
    if (this.#remembered !== undefined) link.send({ kind: 'remembers', partitions: this.#remembered })
    // A voter that comes back may be the one that is waited for.
    if (this.#register !== undefined && peer.epoch === this.epoch)
      this.#register.repeat(voterName(peer.nodeId, peer.diskId))
    this.#contactDueMs = 0
    this.#pulse.beatSoon()
  }

  answered(link: ControlLink, message: ControlMessage): void {
    const { peer } = link
    if (peer === undefined) return
    switch (message.kind) {
      case 'vote': {
        const { vote } = message
        if (vote.kind === 'decided') {
          if (vote.epoch > this.epoch) this.#feed.fetch(link)
        } else if (vote.kind === 'behind') {
          this.#feed.teach(vote.epoch, (lesson) => link.send(lesson))
          this.#register?.repeat(vote.voter)
        } else {
          this.#register?.vote(vote)
        }
        return
      }
      case 'contacted': {
        const { topology } = this.#chain
        const { contacted } = message
        if (topology !== undefined) this.#contact.heard(contacted, topology.epoch, voterNames(topology))
        if (contacted.epoch > this.epoch) this.#feed.fetch(link)
        return
      }
      case 'fetched':
        this.#feed.learn(message.slot, message.value, () => this.#feed.fetch(link))
        return
      case 'fetchedRecord':
        this.#feed.learnRecord(decodeTopology(message.topology))
        return
      case 'founded':
        this.#perform(this.#bootstrap?.accepted(peer.nodeId, message.clusterId))
        return
      case 'called':
        this.calls.answered(message, link)
        return
      default:
        throw new CacheError('PROTOCOL_ERROR', `${message.kind} is no answer`)
    }
  }

  lost(link: ControlLink, error: CacheError | undefined, peer: PeerWelcome | undefined): void {
    if (peer !== undefined) this.#bootstrap?.lost(peer.nodeId)
    this.calls.lost(link)
    this.#pulse.stir()
    const nodeId =
      peer?.nodeId ??
      this.#chain.topology?.nodes.find((node) => node.address === link.address && node.state !== 'gone')
        ?.nodeId
    if (nodeId !== undefined) this.#ports.streamLost(nodeId, error)
  }

  // What other nodes ask on their streams.

  asked(session: ControlSession, message: ControlMessage): void {
    const register = this.#register
    if (register === undefined) return
    switch (message.kind) {
      case 'prepare':
      case 'accept':
        register.ask(message, (vote) => session.send({ kind: 'vote', vote }))
        return
      case 'contact':
        session.send({
          kind: 'contacted',
          contacted: {
            round: message.round,
            voter: register.voter,
            epoch: this.epoch,
            accepted: register.highestAccepted,
          },
        })
        return
      case 'suggest':
        this.#drive(decodeTransforms(message.change))
        return
      case 'remembers': {
        const { nodeId, incarnation } = session.peer
        this.memories.heard(nodeId, incarnation, message.partitions)
        return
      }
      case 'call':
        this.calls.asked(message, (answer) => session.send(answer))
        return
      case 'decided':
        this.#feed.learn(message.slot, message.value, () => {
          const link = this.#links.to(session.peer.nodeId)
          if (link !== undefined) this.#feed.fetch(link)
        })
        return
      case 'fetch':
        this.#feed.teach(message.epoch, (lesson) => session.send(asAnswer(lesson)))
        return
      case 'record':
        this.#feed.learnRecord(decodeTopology(message.topology))
        return
      case 'found': {
        const topology = decodeTopology(message.topology)
        if (this.#bootstrap?.proposed(topology) === true)
          session.send({ kind: 'founded', clusterId: topology.clusterId })
        return
      }
      default:
        throw new CacheError('PROTOCOL_ERROR', `${message.kind} is no question`)
    }
  }

  left(session: ControlSession): void {
    this.#sessions.delete(session)
  }

  #opened(store: RegisterStore): void {
    const { options, ports } = { options: this.#options, ports: this.#ports }
    this.#store = store
    const kept = store.kept.topology
    if (kept !== undefined) {
      if (kept.clusterName !== options.clusterName) {
        ports.failed(
          new CacheError(
            'CONFIGURATION',
            `the data directory belongs to the cluster ${kept.clusterName}, not ${options.clusterName}: name another directory`,
          ),
        )
        return
      }
      this.#chain.replace(kept)
    }
    const self = { incarnation: this.#incarnation, diskId: store.diskId }
    this.#bootstrap = new Bootstrap(options, self, ports.random)
    this.#register = new Register(options.nodeId, this.#incarnation, {
      ...ports,
      store,
      chain: this.#chain,
      send: (voter, message) => this.#links.sendToVoter(voter, message),
      decided: (slot, value) => this.#feed.decided(slot, value, this.#sessions),
    })
    this.#pulse.start()
    if (kept === undefined) {
      this.#links.update(this.#chain.topology, this.self >= 0)
      this.#perform(this.#bootstrap.start())
    } else {
      ports.log.info('goes on from the topology that was kept', {
        clusterId: kept.clusterId,
        epoch: kept.epoch,
      })
      this.#adopted(true)
    }
  }

  #perform(effect: BootstrapEffect | undefined): void {
    if (effect === undefined) return
    const { topology } = effect
    if (effect.kind === 'propose') {
      const message = { kind: 'found', topology: encodeTopology(topology, 'node') } as const
      this.#links.sendToAll(message)
      return
    }
    this.#feed.learnRecord(topology, true)
  }

  /** The chain moved: everything that hangs on it follows. */
  #adopted(isKept: boolean): void {
    const { topology, encoded, last } = this.#chain
    if (topology === undefined) return
    const { log } = this.#ports
    this.#bootstrap?.stop()
    if (!isKept) {
      this.#store?.saveRecord(encoded, { sync: false }).catch((error: unknown) => {
        log.error('the topology could not be kept', { reason: toCacheError(error).message })
      })
    }
    this.#adoptedMs = this.#ports.clock.monotonicMs()
    const { self } = this
    if (this.#admission.adopted(self)) log.error('this process is no member of the cluster any more')
    const { clusterId, epoch } = topology
    log.info('topology', { clusterId, epoch, changes: last?.changes.map((change) => change.kind) })
    this.#links.update(this.#chain.topology, this.self >= 0)
    this.#suggestions.adopted(topology, last?.changes)
    this.#register?.adopted()
    this.#pulse.beatSoon()
    try {
      this.#ports.adopted(topology, encoded, self)
    } catch (error) {
      // A bug in what follows the topology must not keep the cluster from agreeing on the next.
      log.error('the topology could not be taken up', {
        epoch: topology.epoch,
        reason: String(error),
        stack: stackOf(error),
      })
    }
  }

  /** How long only the voters are to be asked. */
  #restMs(): number | undefined {
    const nowMs = this.#ports.clock.monotonicMs()
    return this.#isQuiet(nowMs) ? Math.max(1, this.#contactDueMs - nowMs) : undefined
  }

  /** Whether nobody is missing, nothing is proposed, and nothing has changed for a while: what comes next stirs. */
  #isQuiet(nowMs: number): boolean {
    const { topology } = this.#chain
    if (topology?.nodes[this.self]?.state !== 'active' || !this.#suggestions.isEmpty) return false
    if (nowMs - this.#adoptedMs < QUIET_AFTER_MS || nowMs - this.#contact.contactMs > 2 * CONTACT_MS)
      return false
    return topology.nodes.every(
      ({ nodeId, incarnation, state }) =>
        state === 'gone' ||
        (state === 'active' && this.#ports.liveness.verdict(nodeId, incarnation) === 'alive'),
    )
  }

  #tick(): void {
    const { topology } = this.#chain
    if (this.#closed || topology === undefined) return
    const nowMs = this.#ports.clock.monotonicMs()
    this.#contactVoters(topology, nowMs)
    if (this.#ports.mayJoin?.() !== false) {
      const request = this.#admission.request(topology, this.self, this.diskId, nowMs)
      if (request !== undefined) this.#suggestions.propose(request)
    }
    this.#reportDeaths()
    if (this.driver === this.#options.nodeId) {
      for (const change of this.#duties.changes(topology)) this.#suggestions.propose(change)
    }
    this.#suggestions.flush()
  }

  #contactVoters(topology: Topology, nowMs: number): void {
    if (nowMs < this.#contactDueMs) return
    this.#contactDueMs = nowMs + (this.self < 0 ? CONTACT_EAGER_MS : CONTACT_MS)
    const round = this.#contact.begin(nowMs, topology.epoch)
    this.#links.sendToAll({ kind: 'contact', round, epoch: topology.epoch })
    const register = this.#register
    if (register?.isSound !== true) return
    const own = { round, voter: register.voter, epoch: topology.epoch, accepted: register.highestAccepted }
    this.#contact.heard(own, topology.epoch, voterNames(topology))
  }

  #drive(changes: readonly Transform[]): void {
    const approved = changes.filter((change) => this.#deaths.approves(change))
    if (approved.length > 0) this.#register?.drive(approved)
  }

  #reportDeaths(): void {
    const { topology } = this.#chain
    if (topology === undefined) return
    const nowMs = this.#ports.clock.monotonicMs()
    this.#deaths.observe(this.#contact.contactMs, nowMs)
    const reports = this.#deaths.reports(topology, this.self, nowMs)
    // A verdict may have been taken back since.
    this.#suggestions.drop(
      (change) =>
        change.kind === 'NodeFailed' &&
        !reports.some(
          (report) =>
            report.kind === 'NodeFailed' &&
            report.process.nodeId === change.process.nodeId &&
            report.process.incarnation === change.process.incarnation,
        ),
    )
    for (const report of reports) this.#suggestions.propose(report)
  }
}

/** @param incarnation undefined: any process of the node will do */
function positionOf(
  topology: Topology | undefined,
  nodeId: string,
  incarnation: string | undefined,
): NodeIndex {
  if (topology === undefined) return -1
  return topology.nodes.findIndex(
    (node) =>
      node.nodeId === nodeId &&
      (incarnation === undefined || node.incarnation === incarnation) &&
      node.state !== 'gone',
  )
}

function stackOf(error: unknown): string | undefined {
  return error instanceof Error ? error.stack : undefined
}
