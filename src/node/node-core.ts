/**
 * A node without its outside: everything but the sockets, the clock and the configuration file. Real processes, embedded mode
 * and simulations run this same class on different ports.
 */

import type { Clock } from '../kernel/clock.ts'
import { CacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import { MemoryAccount } from '../kernel/memory-account.ts'
import { type Random, randomHex } from '../kernel/random.ts'
import type { BrokenRules } from '../kernel/rule-switch.ts'
import { every, type Scheduler, type Timer } from '../kernel/scheduler.ts'
import type { Uncompress } from '../replication/atomic-group.ts'
import { decodeTopology, encodeTopology } from '../topology/codec.ts'
import type { Topology } from '../topology/topology.ts'
import { FrameType } from '../wire/frames.ts'
import type { Hello } from '../wire/handshake.ts'
import { encodeTopologyFrame, type ReplicaPosition } from '../wire/peer-frames.ts'
import type { Accept, Dialer, FrameHandler, FrameStream, StreamService } from '../wire/transport.ts'
import { Bootstrap, type BootstrapEffect } from './bootstrap.ts'
import { ClientSession, type SessionPorts } from './client-session.ts'
import { DataPlane } from './data-plane.ts'
import type { NodeOptions } from './options.ts'
import { PeerLink, type PeerLinkHandler } from './peer-link.ts'
import { PeerSession, type PeerSessionPorts } from './peer-session.ts'

export interface NodePorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly random: Random
  readonly log: Log
  readonly dialer: Dialer
  /** Undoes the clients' compression, to compare values. */
  readonly uncompress: Uncompress
  /** Bytes the process holds in all: JavaScript heap and array buffers. Where that says nothing (simulations), undefined. */
  readonly processBytes?: () => number
  /** Rules of the protocol that a test breaks, to see that it is noticed. */
  readonly brokenRules?: BrokenRules
}

export interface PeerStatus {
  readonly nodeId: string
  readonly address: string
  readonly linked: boolean
  /** It acknowledges what this node orders. */
  readonly following: boolean
  /** Why it is not linked, when that is known. */
  readonly reason: string | undefined
}

export interface NodeStatus {
  readonly nodeId: string
  readonly incarnation: string
  /** `starting`: no topology yet. `no-role`: the cluster goes on without this process. */
  readonly state: 'starting' | 'serving' | 'no-role' | 'stopped'
  readonly clusterId: string | undefined
  readonly epoch: number
  readonly peers: readonly PeerStatus[]
  readonly primaries: number
  readonly backups: number
  readonly entries: number
  readonly laggingReplicas: number
  readonly sessions: number
  readonly memoryBytes: number
  readonly memoryLimitBytes: number
}

const OBSERVE_MS = 500

export class NodeCore implements PeerLinkHandler {
  readonly options: NodeOptions
  readonly incarnation: string
  readonly memory: MemoryAccount
  readonly #ports: NodePorts
  readonly #bootstrap: Bootstrap
  readonly #links = new Map<string, PeerLink>()
  readonly #sessions = new Set<ClientSession>()
  /** By session and lane: the newest stream. */
  readonly #bySession = new Map<string, ClientSession>()
  readonly #peerSessions = new Set<PeerSession>()
  readonly #sessionPorts: SessionPorts
  readonly #peerSessionPorts: PeerSessionPorts
  readonly #earlyResumes = new Map<PeerLink, () => void>()
  #plane: DataPlane | undefined
  #timer: Timer | undefined
  #state: 'new' | 'running' | 'draining' | 'stopped' = 'new'

  constructor(options: NodeOptions, ports: NodePorts) {
    this.options = options
    this.#ports = ports
    this.incarnation = randomHex(ports.random, 16)
    this.memory = new MemoryAccount(options.memoryLimitBytes, options.memoryHighShare)
    this.#bootstrap = new Bootstrap(options, this.incarnation, ports.random)
    const { clock, scheduler, log } = ports
    this.#sessionPorts = {
      clock,
      scheduler,
      log,
      options,
      incarnation: this.incarnation,
      dataPlane: () => this.#plane,
      admitted: (session, hello) => this.#admit(session, hello),
      ended: (session) => this.#forget(session),
    }
    this.#peerSessionPorts = {
      options,
      incarnation: this.incarnation,
      scheduler,
      log,
      dataPlane: () => this.#plane,
      receiverPorts: (plane) => ({
        applier: plane.replicator.applier,
        operations: plane.replicator.operations,
        stages: plane.replicator.inbox,
        clock,
        scheduler,
        replica: (partition) => plane.replicator.replica(partition),
      }),
      admitted: (session) => this.#admitPeer(session),
      ended: (session) => this.#peerSessions.delete(session),
      proposed: (topology) => this.#bootstrap.proposed(topology),
      committed: (topology) => this.#perform(this.#bootstrap.committed(topology)),
    }
  }

  /** Meets the other nodes. Returns at once; `status` and `whenServing` tell when the cluster is there. */
  start(): void {
    if (this.#state !== 'new') throw new CacheError('INTERNAL', 'a node starts once')
    this.#state = 'running'
    const { nodes, nodeId, clusterName } = this.options
    const identity = {
      clusterName,
      nodeId,
      incarnation: this.incarnation,
      clusterId: () => this.#plane?.clusterId ?? '',
      topology: () => this.#plane?.nodeTopology ?? new Uint8Array(0),
    }
    for (const node of nodes) {
      if (node.nodeId === nodeId) continue
      const link = new PeerLink(node.nodeId, node.address, identity, this.#ports, this)
      this.#links.set(node.nodeId, link)
      link.start()
    }
    this.#timer = every(this.#ports.scheduler, OBSERVE_MS, () => this.#observe())
    this.#perform(this.#bootstrap.start())
  }

  /** Whom the listeners give each new stream. */
  readonly accept: Accept = (
    service: StreamService,
    stream: FrameStream,
    remoteAddress: string,
  ): FrameHandler => {
    if (service === 'cluster') {
      const session = new PeerSession(stream, this.#peerSessionPorts)
      this.#peerSessions.add(session)
      return session
    }
    const session = new ClientSession(stream, remoteAddress, this.#sessionPorts)
    this.#sessions.add(session)
    return session
  }

  get dataPlane(): DataPlane | undefined {
    return this.#plane
  }

  /** Logs that contradicted each other: always 0, or there is a bug. */
  get diverged(): number {
    return this.#plane?.replicator.counters.diverged ?? 0
  }

  status(): NodeStatus {
    const plane = this.#plane
    const links = [...this.#links.values()]
    let backups = 0
    let lagging = 0
    for (const replica of plane?.replicator.replicas() ?? []) {
      if (replica.role === 'backup') backups++
      for (const member of replica.members) if (member.state === 'lagging') lagging++
    }
    return {
      nodeId: this.options.nodeId,
      incarnation: this.incarnation,
      state: this.#stateName(),
      clusterId: plane?.clusterId,
      epoch: plane?.topology.epoch ?? 0,
      peers: links.map((link) => ({
        nodeId: link.nodeId,
        address: link.address,
        linked: link.isLinked,
        following: plane?.replicator.isPeerAvailable(this.#indexOf(link)) ?? false,
        reason: link.isLinked ? undefined : link.lastError?.message,
      })),
      primaries: plane?.replicator.primaries.length ?? 0,
      backups,
      entries: plane?.engine.stats.entries ?? 0,
      laggingReplicas: lagging,
      sessions: this.#sessions.size,
      memoryBytes: this.memory.totalBytes,
      memoryLimitBytes: this.memory.limitBytes,
    }
  }

  /** Tells clients to go elsewhere; true once nothing of theirs is under way. Call until then, then `close`. */
  drain(): boolean {
    if (this.#state === 'running') {
      this.#state = 'draining'
      for (const session of this.#sessions) session.goAway()
    }
    for (const session of this.#sessions) if (!session.isIdle) return false
    return true
  }

  close(): void {
    if (this.#state === 'stopped') return
    this.#state = 'stopped'
    this.#timer?.cancel()
    this.#plane?.close()
    for (const session of [...this.#sessions]) session.close()
    for (const session of [...this.#peerSessions]) session.close()
    for (const link of this.#links.values()) link.close()
  }

  // What links to peers report.

  welcomed(link: PeerLink, welcome: { readonly incarnation: string; readonly topology: Uint8Array }): void {
    if (welcome.topology.length > 0) {
      this.#perform(this.#bootstrap.committed(decodeTopology(welcome.topology)))
      return
    }
    const plane = this.#plane
    if (plane === undefined) this.#perform(this.#bootstrap.met(link.nodeId, welcome.incarnation))
    else link.send(encodeTopologyFrame(FrameType.commit, plane.nodeTopology))
  }

  accepted(link: PeerLink, clusterId: string): void {
    this.#perform(this.#bootstrap.accepted(link.nodeId, clusterId))
  }

  resumed(link: PeerLink, stream: FrameStream, positions: readonly ReplicaPosition[]): void {
    const plane = this.#plane
    if (plane === undefined) {
      // The peer learned of the topology first: its word is kept until this node has it too.
      this.#earlyResumes.set(link, () => this.resumed(link, stream, positions))
      return
    }
    plane.replicator.peerLinked(this.#indexOf(link), stream, positions)
    link.startBulk()
  }

  acked(link: PeerLink, ack: Parameters<PeerLinkHandler['acked']>[1]): void {
    this.#plane?.replicator.peerAcked(this.#indexOf(link), ack)
  }

  lost(link: PeerLink): void {
    this.#earlyResumes.delete(link)
    this.#bootstrap.lost(link.nodeId)
    this.#plane?.replicator.peerLost(this.#indexOf(link))
  }

  bulkUp(link: PeerLink, stream: FrameStream): void {
    this.#plane?.replicator.outbox.linkUp(this.#indexOf(link), stream)
  }

  bulkDrained(link: PeerLink): void {
    this.#plane?.replicator.outbox.drained(this.#indexOf(link))
  }

  bulkDown(link: PeerLink): void {
    this.#plane?.replicator.outbox.linkDown(this.#indexOf(link))
  }

  staged(link: PeerLink, stageId: number, ok: boolean): void {
    this.#plane?.replicator.outbox.answered(this.#indexOf(link), stageId, ok)
  }

  #perform(effect: BootstrapEffect | undefined): void {
    if (effect === undefined) return
    if (effect.kind === 'propose') {
      const message = (): Uint8Array =>
        encodeTopologyFrame(FrameType.propose, encodeTopology(effect.topology, 'node'))
      for (const link of this.#links.values()) link.send(message())
      return
    }
    this.#adopt(effect.topology)
  }

  #adopt(topology: Topology): void {
    const self = topology.nodes.findIndex(
      (node) => node.nodeId === this.options.nodeId && node.incarnation === this.incarnation,
    )
    const { clock, scheduler, log, uncompress } = this.#ports
    const plane = new DataPlane(topology, self, {
      clock,
      scheduler,
      log,
      memory: this.memory,
      uncompress,
      options: this.options,
    })
    this.#plane = plane
    if (self < 0) {
      log.warn(
        'the cluster runs with an earlier process of this node: it holds no replicas until the cluster takes it back',
        {
          clusterId: topology.clusterId,
        },
      )
    } else {
      log.info('topology taken up', {
        clusterId: topology.clusterId,
        epoch: topology.epoch,
        nodes: topology.nodes.length,
      })
    }
    for (const link of this.#links.values())
      link.send(encodeTopologyFrame(FrameType.commit, plane.nodeTopology))
    for (const resume of this.#earlyResumes.values()) resume()
    this.#earlyResumes.clear()
    for (const session of this.#peerSessions) session.adopted(plane)
    for (const session of [...this.#sessions]) session.pushTopology(plane)
  }

  #stateName(): NodeStatus['state'] {
    if (this.#state === 'stopped') return 'stopped'
    if (this.#plane === undefined) return 'starting'
    return this.#plane.replicator.self < 0 ? 'no-role' : 'serving'
  }

  #indexOf(link: PeerLink): number {
    return this.#plane?.topology.nodes.findIndex((node) => node.nodeId === link.nodeId) ?? -1
  }

  #admit(session: ClientSession, hello: Hello): void {
    if (this.#state !== 'running')
      throw new CacheError('CLOSED', `${this.options.nodeId} is stopping: use another node`)
    if (this.#sessions.size > this.options.sessionsMax) {
      throw new CacheError(
        'OVERLOADED',
        `${this.options.sessionsMax} client streams are open: close some, or raise limits.streams`,
      )
    }
    const name = `${hello.session}/${hello.lane}`
    const older = this.#bySession.get(name)
    if (older !== undefined && older !== session) {
      if ((older.hello?.streamNumber ?? 0) > hello.streamNumber) {
        throw new CacheError('CLOSED', 'a newer stream of this session is open')
      }
      older.close()
    }
    this.#bySession.set(name, session)
  }

  #forget(session: ClientSession): void {
    this.#sessions.delete(session)
    const name = `${session.hello?.session}/${session.hello?.lane}`
    if (this.#bySession.get(name) === session) this.#bySession.delete(name)
  }

  #admitPeer(session: PeerSession): void {
    for (const other of [...this.#peerSessions]) {
      if (
        other !== session &&
        other.hello?.nodeId === session.hello?.nodeId &&
        other.hello?.lane === session.hello?.lane
      ) {
        other.close()
      }
    }
  }

  #observe(): void {
    const { processBytes } = this.#ports
    if (processBytes !== undefined) this.memory.observe(processBytes())
    for (const session of this.#sessions) session.sweep()
    this.#checkSilence()
  }

  #checkSilence(): void {
    const limitMs = 3 * this.options.replicaTimeoutMs
    for (const link of this.#links.values()) {
      const silentMs = this.#plane?.replicator.peerSilenceMs(this.#indexOf(link))
      if (silentMs !== undefined && silentMs > limitMs) link.hangUp(`silent for ${Math.round(silentMs)} ms`)
    }
  }
}
