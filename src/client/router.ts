/**
 * Sends each operation to the node that should answer it, by the topology, and decides what becomes of those that fail.
 *
 * The topology comes with the first contact and is pushed when it changes. The cluster's id is pinned then: a node that
 * belongs to another cluster is refused. There is one link per node; links to nodes that left are closed.
 *
 * A node is named by its incarnation: one that was started again has no role until a topology names the new process. Nothing
 * but what asks for this very node is sent there meanwhile.
 */

import { CacheError, type ErrorCode, toCacheError } from '../kernel/errors.ts'
import type { Random } from '../kernel/random.ts'
import type { Scheduler } from '../kernel/scheduler.ts'
import { NO_RING, type NodeRecord, type Topology } from '../topology/topology.ts'
import type { Welcome } from '../wire/handshake.ts'
import { ReadCode } from '../wire/operations.ts'
import { HeardTopology } from './heard-topology.ts'
import { type LinkOptions, NodeLink } from './node-link.ts'
import { type Call, type FailureStage, reserve } from './pending.ts'
import { defaultRetryPolicy, isTransient, type RetryPolicy, RetryQueue } from './retry.ts'
import { Target } from './target.ts'
import type { TurnClock } from './turn-clock.ts'

export interface RouterOptions extends LinkOptions {
  readonly clock: TurnClock
  readonly scheduler: Scheduler
  readonly random: Random
  readonly retry: RetryPolicy | undefined
}

/** Errors that say what became of this very write, however often it was sent. */
const OUTCOMES: ReadonlySet<ErrorCode> = new Set([
  'INVALID_ARGUMENT',
  'KEY_TOO_LARGE',
  'VALUE_TOO_LARGE',
  'UNKNOWN_REGION',
  'WRONG_TYPE',
  'UNSUPPORTED',
  'OUTCOME_UNKNOWN',
  'UNAUTHENTICATED',
  'PERMISSION_DENIED',
])

const EMPTY: Topology = {
  clusterId: '' as Topology['clusterId'],
  clusterName: '',
  epoch: 0 as Topology['epoch'],
  hashKey: undefined,
  nodes: [],
  voters: [],
  ring: NO_RING,
  groups: [],
  regions: [],
  nextRegionId: 0,
  partitions: [],
}

export class Router {
  readonly #options: RouterOptions
  readonly #target = new Target(EMPTY)
  readonly #retries: RetryQueue
  readonly #retry: RetryPolicy
  /** By address. */
  readonly #links = new Map<string, NodeLink>()
  /** In the order of the topology's nodes; none for those that are gone. */
  #nodes: readonly (NodeLink | undefined)[] = []
  /** By partition. */
  #primaries: readonly (NodeLink | undefined)[] = []
  #clusterId = ''
  readonly #heardTopology = new HeardTopology()
  #turn = 0
  #closed = false
  #onContact: ((error: CacheError | undefined, address: string) => void) | undefined

  constructor(options: RouterOptions) {
    this.#options = options
    this.#retry = options.retry ?? defaultRetryPolicy(options.random)
    this.#retries = new RetryQueue(options.scheduler, (call, slot) => this.#submitAgain(call, slot))
  }

  get topology(): Topology {
    return this.#target.topology
  }

  /** One link per node of the cluster, in the topology's order. */
  get nodes(): readonly NodeLink[] {
    return this.#nodes.filter((link) => link !== undefined)
  }

  /** The link to a node by its configured name. */
  link(nodeId: string): NodeLink | undefined {
    return this.#nodes.find((link) => link?.name === nodeId)
  }

  /**
   * Opens links to these addresses. `onContact` hears of each failure, and without an error once a topology is known.
   */
  start(
    addresses: readonly string[],
    onContact: (error: CacheError | undefined, address: string) => void,
  ): void {
    this.#onContact = onContact
    for (const address of addresses) this.#linkTo(address).operations.connect()
  }

  /** Whether a node answers at this address, be it that it has no topology yet. */
  isGreeted(address: string): boolean {
    return this.#links.get(address)?.operations.isReady === true
  }

  /** Sends the operation; what goes wrong is reported to the call. */
  submit(call: Call, slot: number): void {
    const target = this.#target
    try {
      call.locate(slot, target)
      const link = call.link ?? this.#choose(target, call.readKind)
      link.submit(call, slot, target)
    } catch (error) {
      this.failed(call, slot, toCacheError(error), 'unsent')
    }
  }

  failed(call: Call, slot: number, error: CacheError, stage: FailureStage): void {
    if (call.isSettled(slot)) return
    if (stage === 'lost' || error.code === 'OUTCOME_UNKNOWN') call.lost(slot)
    if (isTransient(error) && !this.#closed && this.#retryLater(call, slot, error)) return
    call.reject(slot, finalError(call, slot, error))
  }

  /** Gives up whatever of this call is under way. */
  abandon(call: Call, error: CacheError): void {
    for (const link of this.#links.values()) link.abandon(call, error)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    const error = new CacheError('CLOSED', 'the client was closed')
    for (const { call, slot } of this.#retries.takeAll()) {
      this.#options.ports.budget.count--
      this.failed(call, slot, error, 'unsent')
    }
    for (const link of this.#links.values()) link.close(error)
    this.#links.clear()
  }

  #retryLater(call: Call, slot: number, error: CacheError): boolean {
    // A node asked by name is not replaced by another, and a full queue of our own is not worth joining again.
    if (call.link?.isDown === true) return false
    if (error.code === 'OVERLOADED' && error.node === undefined) return false
    const nowMs = this.#options.clock.nowMs()
    const delayMs = this.#delayMs(call, slot, error)
    if (delayMs === false || !(delayMs >= 0) || nowMs + delayMs >= call.deadlineMs) return false
    const { budget } = this.#options.ports
    if (budget.count >= budget.max) return false
    reserve(budget)
    this.#retries.add(call, slot, nowMs, delayMs, error)
    return true
  }

  /** What the policy says. One of the application that throws gives up: the call must end all the same. */
  #delayMs(call: Call, slot: number, error: CacheError): number | false {
    try {
      return this.#retry(call.nextAttempt(slot), error)
    } catch {
      return false
    }
  }

  #submitAgain(call: Call, slot: number): void {
    this.#options.ports.budget.count--
    if (!call.isSettled(slot)) this.submit(call, slot)
  }

  #choose(target: Target, readKind: number): NodeLink {
    const { topology } = target
    const primary = this.#primaries[target.partition]
    if (primary === undefined) {
      if (this.#closed) throw new CacheError('CLOSED', 'the client was closed')
      if (topology.epoch === 0)
        throw new CacheError('NOT_READY', 'the topology of the cluster is not known yet')
      throw new CacheError(
        'NO_ROLE',
        `partition ${target.partition} has no primary: too many of its copies are lost`,
      )
    }
    const kind = readKind === ReadCode.region ? ReadCode[target.regionRead] : readKind
    if (kind === ReadCode.primary || kind === ReadCode.majority || kind === ReadCode.linearizable)
      return withRole(primary)
    const inSync = topology.partitions[target.partition]?.inSync ?? []
    if (kind === ReadCode.replica)
      return this.#anyOf(inSync.length > 1 ? inSync.slice(1) : inSync) ?? withRole(primary)
    return this.#nearestOf(inSync) ?? withRole(primary)
  }

  /** The nodes in turn, those that are connected first. */
  #anyOf(indexes: readonly number[]): NodeLink | undefined {
    const first = this.#turn++
    let fallback: NodeLink | undefined
    for (let i = 0; i < indexes.length; i++) {
      const link = this.#nodes[indexes[(first + i) % indexes.length] as number]
      if (link?.hasRole !== true) continue
      if (link.operations.isReady) return link
      if (link.operations.downError === undefined) fallback ??= link
    }
    return fallback
  }

  #nearestOf(indexes: readonly number[]): NodeLink | undefined {
    let best = this.#anyOf(indexes)
    if (best === undefined || !best.operations.isReady) return best
    for (const index of indexes) {
      const link = this.#nodes[index]
      if (link?.hasRole !== true || !link.operations.isReady) continue
      // A difference within the noise is none: then they take turns.
      if (link.operations.batcher.latencyMs < best.operations.batcher.latencyMs * 0.75) best = link
    }
    return best
  }

  #linkTo(address: string): NodeLink {
    const known = this.#links.get(address)
    if (known !== undefined) return known
    const link = new NodeLink(address, this.#options, {
      clusterId: () => this.#clusterId,
      welcomed: (from, welcome) => this.#welcomed(from, welcome),
      topology: (from, bytes) => this.#heard(from, from.name, bytes),
      failed: (call, slot, error, stage) => this.failed(call, slot, error, stage),
      lost: (from, error) => this.#onContact?.(error, from.address),
    })
    this.#links.set(address, link)
    return link
  }

  #welcomed(link: NodeLink, welcome: Welcome): void {
    // A node without a topology may yet learn of one that names it: it answers NOT_READY until then.
    if (welcome.topology.length === 0) link.hasRole = true
    else this.#heard(link, welcome.nodeId, welcome.topology)
  }

  /** A node sent the topology it knows. */
  #heard(link: NodeLink, nodeId: string, bytes: Uint8Array): void {
    const topology = this.#heardTopology.decode(bytes)
    if (this.#clusterId !== '' && topology.clusterId !== this.#clusterId) {
      throw new CacheError(
        'WRONG_CLUSTER',
        `node ${nodeId} belongs to cluster ${topology.clusterId}, this client to ${this.#clusterId}: if the cluster was started anew, close this client and connect again`,
        { node: nodeId },
      )
    }
    link.name = nodeId
    this.#adopt(topology)
    this.#judgeRole(link)
  }

  /** Compares the process that a link leads to with those that the topology names: earlier ones of the node may be among them. */
  #judgeRole(link: NodeLink): void {
    const { nodes } = this.topology
    const isNamed = (node: NodeRecord, index: number): boolean =>
      this.#nodes[index] === link && node.incarnation === link.incarnation
    link.hasRole = link.incarnation === '' || !this.#nodes.includes(link) || nodes.some(isNamed)
  }

  #adopt(topology: Topology): void {
    if (topology.epoch <= this.topology.epoch || this.#closed) return
    const former = this.topology.nodes
    this.#clusterId = topology.clusterId
    this.#target.topology = topology
    const before = [...this.#links.values()]
    this.#nodes = topology.nodes.map((node) => {
      if (node.state === 'gone') return undefined
      // A seed may be known by another name of the same address.
      const link =
        before.find((other) => other.name === node.nodeId && other.operations.isOpen) ??
        this.#linkTo(node.address)
      link.name = node.nodeId
      return link
    })
    for (const link of this.nodes) this.#judgeRole(link)
    this.#primaries = topology.partitions.map((partition) => this.#nodes[partition.primary])
    for (const [address, link] of [...this.#links]) {
      if (this.#nodes.includes(link)) continue
      this.#links.delete(address)
      link.close(new CacheError('UNAVAILABLE', `node ${link.name} left the cluster`, { node: link.name }))
    }
    topology.nodes.forEach((node, i) => {
      const link = this.#nodes[i]
      // What a process held dead has not answered is asked of those that took its place.
      if (node.state === 'failed') link?.giveUp(`node ${node.nodeId} was held dead by the cluster`)
      // It may get partitions back before this client would have tried to reach it again.
      else if (!former.some((other) => isSameProcess(other, node) && other.state === node.state))
        link?.retryNow()
      link?.operations.connect()
    })
    this.#retries.topologyChanged()
    this.#onContact?.(undefined, '')
  }
}

function isSameProcess(a: NodeRecord, b: NodeRecord): boolean {
  return a.nodeId === b.nodeId && a.incarnation === b.incarnation
}

/** @throws CacheError NO_ROLE when the process there is not the one that the topology names, or why it can't be reached. */
function withRole(link: NodeLink): NodeLink {
  if (link.hasRole) return link
  const down = link.operations.downError
  if (down !== undefined) throw down
  throw new CacheError(
    'NO_ROLE',
    `node ${link.name} was started again and holds no replicas: what it was the primary of waits for the cluster to name another`,
    { node: link.name },
  )
}

/** What the application is told. A write that may have been applied is never reported as a failure. */
function finalError(call: Call, slot: number, error: CacheError): CacheError {
  if (!call.isWrite || !call.wasLost(slot) || OUTCOMES.has(error.code)) return error
  return new CacheError(
    'OUTCOME_UNKNOWN',
    `the write was sent but not confirmed (${error.message}): read the key to find out whether it took effect`,
    { cause: error, ...(error.node === undefined ? {} : { node: error.node }) },
  )
}
