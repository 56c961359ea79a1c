/**
 * A node without its outside: everything but the sockets, the clock and the configuration file. Real processes, embedded mode
 * and simulations run this same class on different ports.
 */

import type { Clock } from '../kernel/clock.ts'
import type { DurableStore } from '../kernel/durable-store.ts'
import { CacheError } from '../kernel/errors.ts'
import type { Incarnation, NodeId } from '../kernel/ids.ts'
import type { Log } from '../kernel/log.ts'
import { MemoryAccount } from '../kernel/memory-account.ts'
import { MemoryStore } from '../kernel/memory-store.ts'
import { type Random, randomHex } from '../kernel/random.ts'
import type { BrokenRules } from '../kernel/rule-switch.ts'
import { every, type Scheduler, type Timer } from '../kernel/scheduler.ts'
import type { MetricFamily } from '../observability/metric-families.ts'
import { NodeObserver } from '../observability/observer.ts'
import type { Uncompress } from '../replication/atomic-group.ts'
import { isUp, type NodeIndex, type Topology } from '../topology/topology.ts'
import type { Hello } from '../wire/handshake.ts'
import type { Accept, Dialer, FrameHandler, FrameStream, StreamService } from '../wire/transport.ts'
import { ClientSession, type SessionPorts } from './client-session.ts'
import type { ClusterControl } from './cluster-control.ts'
import { ControlDesk } from './control-desk.ts'
import { ControlPlane } from './control-plane.ts'
import { DataPlane } from './data-plane.ts'
import { Gossip } from './gossip.ts'
import { GossipLiveness } from './gossip-liveness.ts'
import { CLEANUP, cleanupJob, cleanupShare } from './jobs/cleanup.ts'
import { COMPACT, compactJob, compactShare } from './jobs/compact.ts'
import { NodeJobs } from './jobs/node-jobs.ts'
import { rebalanceJob } from './jobs/rebalance-job.ts'
import { nodeMetrics } from './node-metrics.ts'
import { type NodeOptions, ownAddress } from './options.ts'
import { PeerLinks } from './peer-links.ts'
import { PeerSession, type PeerSessionPorts } from './peer-session.ts'
import { SnapshotKeeper, type SnapshotMedium, type SnapshotStatus } from './snapshot-keeper.ts'

export interface NodePorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly random: Random
  readonly log: Log
  readonly dialer: Dialer
  /** What outlives the process. By default nothing does: to its cluster the node comes back as one with an empty disk. */
  readonly store?: DurableStore
  /** Where snapshots lie, if the options ask for any. Without it there are none. */
  readonly snapshots?: SnapshotMedium
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
  /** Undefined: the node keeps none. */
  readonly snapshots: SnapshotStatus | undefined
  readonly sessions: number
  readonly memoryBytes: number
  readonly memoryLimitBytes: number
}

const OBSERVE_MS = 500
/** How long a node that stops goes on voting for those that take over from it. */
const LEAVE_MS = 2000
const LEAVE_CHECK_MS = 10

export class NodeCore {
  readonly options: NodeOptions
  readonly incarnation: string
  readonly memory: MemoryAccount
  /** What happened, and what was counted. */
  readonly observer: NodeObserver
  readonly #ports: NodePorts
  readonly #control: ControlPlane
  readonly #gossip: Gossip
  readonly #liveness: GossipLiveness = new GossipLiveness()
  readonly #desk: ClusterControl
  readonly #snapshots: SnapshotKeeper | undefined
  /** Work of the cluster that one node at a time does. */
  readonly jobs: NodeJobs
  #released: Promise<void> = Promise.resolve()
  readonly #links: PeerLinks
  readonly #sessions = new Set<ClientSession>()
  /** By session and lane: the newest stream. */
  readonly #bySession = new Map<string, ClientSession>()
  readonly #peerSessions = new Set<PeerSession>()
  readonly #sessionPorts: SessionPorts
  readonly #peerSessionPorts: PeerSessionPorts
  #plane: DataPlane | undefined
  #failure: CacheError | undefined
  #timer: Timer | undefined
  #state: 'new' | 'running' | 'draining' | 'stopped' = 'new'

  constructor(options: NodeOptions, ports: NodePorts) {
    this.options = options
    this.#ports = ports
    this.incarnation = randomHex(ports.random, 16)
    this.memory = new MemoryAccount(options.memoryLimitBytes, options.memoryHighShare)
    const { clock, scheduler, log } = ports
    const observer = new NodeObserver(options.nodeId, clock)
    this.observer = observer
    this.#control = new ControlPlane(options, this.incarnation, {
      ...ports,
      store: ports.store ?? new MemoryStore(),
      liveness: this.#liveness,
      streamLost: (nodeId, error) => this.#gossip.streamLost(nodeId, error),
      adopted: (topology, encoded, self) => this.#adopted(topology, encoded, self),
      failed: (error) => this.#failed(error),
      ...(options.snapshots === undefined ? {} : { mayJoin: () => this.#snapshots?.isReady !== false }),
    })
    this.#snapshots =
      options.snapshots === undefined || ports.snapshots === undefined
        ? undefined
        : new SnapshotKeeper(options.snapshots, {
            ...ports,
            medium: ports.snapshots,
            nodeId: options.nodeId,
            observer,
            plane: () => this.#plane,
            loaded: (partitions) => this.#control.remembers(partitions),
          })
    this.#gossip = new Gossip(
      {
        clusterName: options.clusterName,
        nodeId: options.nodeId,
        incarnation: this.incarnation,
        address: ownAddress(options),
        diskId: () => this.#control.diskId,
        clusterId: () => this.#control.clusterId,
      },
      options.nodes.filter((node) => node.nodeId !== options.nodeId),
      ports,
      {
        changed: (member) => {
          this.#liveness.changed(member)
          this.#control.livenessChanged()
        },
        topologyDiffers: (nodeId, epoch) => this.#control.heardOf(nodeId, epoch),
        condemned: () => this.#condemned(),
      },
      options.membership,
    )
    this.#desk = new ControlDesk(this.#control, () => this.#gossip.members())
    this.jobs = new NodeJobs({
      clock,
      scheduler,
      log,
      observer,
      self: { nodeId: options.nodeId as NodeId, incarnation: this.incarnation as Incarnation },
      jobs: options.jobs ?? [],
      control: this.#control,
      isAlive: ({ nodeId, incarnation }) =>
        incarnation === this.incarnation || this.#liveness.verdict(nodeId, incarnation) === 'alive',
    })
    this.#registerWork()
    this.#links = new PeerLinks(options, this.incarnation, {
      ...ports,
      diskId: () => this.#control.diskId,
      dataPlane: () => this.#plane,
    })
    this.#sessionPorts = {
      clock,
      scheduler,
      log,
      options,
      incarnation: this.incarnation,
      dataPlane: () => this.#plane,
      isStopping: () => this.#state !== 'running',
      admitted: (session, hello) => this.#admit(session, hello),
      ended: (session) => this.#forget(session),
    }
    this.#peerSessionPorts = {
      options,
      incarnation: this.incarnation,
      scheduler,
      log,
      dataPlane: () => this.#plane,
      diskId: () => (this.#control.diskId === '' ? undefined : this.#control.diskId),
      epoch: () => this.#control.epoch,
      control: (stream, hello) => this.#control.accept(stream, hello),
      gossip: (stream, hello) => this.#gossip.adopt(stream, hello),
      receiverPorts: (plane) => plane.replicator.receiverPorts(),
      admitted: (session) => this.#admitPeer(session),
      ended: (session) => this.#peerSessions.delete(session),
    }
  }

  /** Meets the other nodes. Returns at once; `status` and `whenServing` tell when the cluster is there. */
  start(): void {
    if (this.#state !== 'new') throw new CacheError('INTERNAL', 'a node starts once')
    this.#state = 'running'
    const { nodeId } = this.options
    const details = { address: ownAddress(this.options), incarnation: this.incarnation }
    this.observer.raise('node.started', { message: `${nodeId} started`, details })
    this.#timer = every(this.#ports.scheduler, OBSERVE_MS, () => this.#observe())
    this.#control.start()
    this.#gossip.start()
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

  /** Who owns what, and how that changes. */
  get control(): ControlPlane {
    return this.#control
  }

  /** What those who administer the cluster may ask for. */
  get desk(): ClusterControl {
    return this.#desk
  }

  /** Why the node can't go on, if it can't. */
  get failure(): CacheError | undefined {
    return this.#failure
  }

  /** Logs that contradicted each other: always 0, or there is a bug. */
  get diverged(): number {
    return this.#plane?.replicator.counters.diverged ?? 0
  }

  status(): NodeStatus {
    const plane = this.#plane
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
      peers: this.#peers(),
      primaries: plane?.replicator.primaries.length ?? 0,
      backups,
      entries: plane?.engine.stats.entries ?? 0,
      laggingReplicas: lagging,
      snapshots: this.#snapshots?.status,
      sessions: this.#sessions.size,
      memoryBytes: this.memory.totalBytes,
      memoryLimitBytes: this.memory.limitBytes,
    }
  }

  /** Its figures, as of now. */
  metrics(): readonly MetricFamily[] {
    const { counters } = this.observer
    return nodeMetrics({ status: this.status(), memory: this.memory, counters, plane: this.#plane })
  }

  /**
   * Takes on nothing more: what clients ask for is answered NOT_READY, and they keep asking until another node takes over. True once
   * all that was begun is answered. Call until then, then `leave`, then `close`.
   */
  drain(): boolean {
    if (this.#state === 'running') this.#state = 'draining'
    this.jobs.stop()
    for (const session of this.#sessions) if (!session.isSettled) return false
    return true
  }

  /** What the node holds goes to its disk, before it drains; undefined when it keeps no snapshots. */
  get save(): (() => Promise<void>) | undefined {
    const snapshots = this.#snapshots
    return snapshots && (() => snapshots.save())
  }

  /** What changed since, before it leaves. */
  get saveRest(): (() => Promise<void>) | undefined {
    const snapshots = this.#snapshots
    return snapshots && (() => snapshots.saveRest())
  }

  /**
   * Says goodbye, so that others take over at once what this node was responsible for, and stays until they have, or for two seconds: it
   * votes, and tells its clients who took over.
   */
  async leave(): Promise<void> {
    if (this.#state === 'stopped') return
    this.#state = 'draining'
    this.#control.leave()
    // Once goodbye is said, others may serve: what is not answered by now must not be answered here any more.
    for (const session of [...this.#sessions]) if (!session.isSettled) session.close()
    const { scheduler, clock } = this.#ports
    const untilMs = clock.monotonicMs() + LEAVE_MS
    await this.#gossip.leave()
    const isAwaited = (): boolean => {
      const { topology, self } = this.#control
      const others = topology?.nodes.some((node, index) => index !== self && isUp(node.state))
      const isLed = others === true && isUp(topology?.nodes[self]?.state)
      const isSending = [...this.#sessions].some((session) => session.isSending)
      return (isLed || isSending) && clock.monotonicMs() < untilMs
    }
    while (isAwaited()) await new Promise<void>((resolve) => scheduler.after(LEAVE_CHECK_MS, resolve))
  }

  /** After `close`: once another process may use this one's disk, but for what was passed in open. */
  get released(): Promise<void> {
    return this.#released
  }

  close(): void {
    this.#stopServing()
    this.#gossip.close()
    this.#control.close()
    for (const session of [...this.#peerSessions]) session.close()
  }

  #stopServing(): void {
    if (this.#state === 'stopped') return
    this.#state = 'stopped'
    this.#timer?.cancel()
    this.jobs.stop()
    this.#released = this.#snapshots?.close() ?? this.#released
    this.#plane?.close()
    for (const session of [...this.#sessions]) {
      session.goAway()
      session.close()
    }
    this.#links.close()
  }

  /** What jobs do by themselves; others add their own. */
  #registerWork(): void {
    const { clock, scheduler } = this.#ports
    const { calls } = this.#control
    const topology = (): Topology | undefined => this.#control.topology
    const plane = (): DataPlane | undefined => this.#plane
    this.jobs.serve()
    calls.serve(CLEANUP, cleanupShare({ clock, scheduler, plane }))
    calls.serve(COMPACT, compactShare(clock, scheduler, plane))
    this.jobs.register(cleanupJob({ calls, scheduler, topology }, clock))
    this.jobs.register(compactJob({ calls, scheduler, topology }))
    this.jobs.register(rebalanceJob({ topology, submit: (change) => this.#control.submit(change) }))
  }

  /** A newer topology: roles, links to peers and what clients know follow it. */
  #adopted(topology: Topology, encoded: Uint8Array, self: NodeIndex): void {
    const { clock, scheduler, log, uncompress } = this.#ports
    if (this.#state === 'stopped') return
    this.#links.drop(topology, self)
    let plane = this.#plane
    if (plane === undefined) {
      plane = new DataPlane(topology, self, {
        clock,
        scheduler,
        log,
        memory: this.memory,
        uncompress,
        options: this.options,
        cluster: this.#control,
        brokenRules: this.#ports.brokenRules,
      })
      this.#plane = plane
      this.#snapshots?.start(self >= 0)
    } else {
      plane.adopt(topology, self, encoded)
    }
    this.#links.add(topology, self)
    this.#watch(topology)
    for (const session of [...this.#peerSessions]) session.adopted(plane)
    for (const session of [...this.#sessions]) session.pushTopology(plane)
    this.jobs.adopted()
  }

  /** Gossip keeps an eye on every process that the topology names. */
  #watch(topology: Topology): void {
    const others = topology.nodes.filter(
      (node) => node.state !== 'gone' && node.nodeId !== this.options.nodeId,
    )
    this.#gossip.setTopology(topology.epoch, Number.parseInt(this.#control.recordHash.slice(0, 8), 16))
    this.#gossip.setPeers(others)
    this.#gossip.expect(others.filter((node) => node.state !== 'failed'))
    this.#liveness.keep((nodeId, incarnation) =>
      topology.nodes.some((node) => node.nodeId === nodeId && node.incarnation === incarnation),
    )
  }

  /** The others hold this process for dead and will not take it back: only a new one can join them. */
  #condemned(): void {
    this.#failed(
      new CacheError('CLOSED', `${this.options.nodeId} was held dead by the others: start it again`),
    )
  }

  #failed(error: CacheError): void {
    this.#failure = error
    this.#ports.log.error('the node can not go on', { code: error.code, reason: error.message })
  }

  #stateName(): NodeStatus['state'] {
    if (this.#state === 'stopped') return 'stopped'
    if (this.#plane === undefined) return 'starting'
    return isUp(this.#control.topology?.nodes[this.#control.self]?.state) ? 'serving' : 'no-role'
  }

  #peers(): PeerStatus[] {
    const { nodeId, nodes } = this.options
    const { topology } = this.#control
    const others: readonly { nodeId: string; address: string; incarnation?: string }[] =
      topology === undefined ? nodes : topology.nodes.filter((node) => node.state !== 'gone')
    return others
      .filter((node) => node.nodeId !== nodeId)
      .map((node) => {
        const link = this.#links.to(node)
        const control = this.#control.linkTo(node.nodeId)
        const linked = topology === undefined ? control.linked : link?.isLinked === true
        return {
          nodeId: node.nodeId,
          address: node.address,
          linked,
          following: this.#links.isFollowing(node),
          reason: linked ? undefined : (link?.lastError?.message ?? control.reason),
        }
      })
  }

  #admit(session: ClientSession, hello: Hello): void {
    if (this.#state === 'stopped')
      throw new CacheError('UNAVAILABLE', `${this.options.nodeId} is stopping: use another node`)
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
    this.#plane?.maintain()
    for (const session of this.#sessions) session.sweep()
    this.#links.checkSilence()
  }
}
