/**
 * How committed topologies come to this node and go on to others: decided values in the order of the epochs, whole records to those that
 * are too far behind. The first record a node takes up is on its disk before the node serves under it.
 */

import type { Clock } from '../kernel/clock.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import { encodeTopology } from '../topology/codec.ts'
import type { Chain } from '../topology/register/chain.ts'
import { canSpread } from '../topology/register/patience.ts'
import type { RegisterStore } from '../topology/register/register-store.ts'
import { decodeValue } from '../topology/register/value.ts'
import type { Topology } from '../topology/topology.ts'
import type { ControlMessage } from '../wire/control-frames.ts'
import type { ControlLink } from './control-link.ts'
import type { ControlLinks } from './control-links.ts'
import type { ControlSession } from './control-session.ts'
import type { NodeOptions } from './options.ts'

/** What leads a node that is behind to what is known. */
export type Lesson =
  | { readonly kind: 'decided'; readonly slot: number; readonly value: Uint8Array }
  | { readonly kind: 'record'; readonly topology: Uint8Array }

export interface TopologyFeedPorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly log: Log
  readonly chain: Chain
  readonly links: ControlLinks
  /** Undefined until the disk was opened. */
  store(): RegisterStore | undefined
  /** A first record is about to be taken up. */
  found(): void
  /** The chain has moved. @param isKept whether the record is on the disk */
  adopted(isKept: boolean): void
  failed(error: CacheError): void
}

const FETCH_PAUSE_MS = 50
/** Between two nodes that are told of a change that may spread slowly: what each makes of it takes milliseconds. */
const SPREAD_MS = 10
/** All are told by then. */
const SPREAD_MAX_MS = 100

export class TopologyFeed {
  readonly #options: NodeOptions
  readonly #ports: TopologyFeedPorts
  #fetchedMs = Number.NEGATIVE_INFINITY
  /** Nodes that are yet to be told of the last change, and how. */
  #untold: (() => void)[] = []
  #spread: Timer | undefined
  #closed = false

  constructor(options: NodeOptions, ports: TopologyFeedPorts) {
    this.#options = options
    this.#ports = ports
  }

  close(): void {
    this.#closed = true
    this.#spread?.cancel()
  }

  /** A value is known to be decided. @param fetch gets what is missing before it */
  learn(slot: number, value: Uint8Array, fetch: () => void): void {
    const { chain, log } = this.#ports
    switch (chain.learn(slot, value)) {
      case 'learned':
        this.#ports.adopted(false)
        return
      case 'gap':
        fetch()
        return
      case 'contradiction': {
        const { epoch } = chain
        log.error('a decided change makes another topology here than where it was proposed', { slot, epoch })
        this.#fetchWhole()
        return
      }
      case 'known':
    }
  }

  /**
   * A whole record is known to be committed.
   * @param founded this node founded the cluster: the others are told
   * @throws CacheError WRONG_CLUSTER, PROTOCOL_ERROR when this node can't serve under it
   */
  learnRecord(topology: Topology, founded = false): void {
    const { chain } = this.#ports
    if (topology.epoch <= chain.epoch) return
    this.#check(topology)
    const store = this.#ports.store()
    if (store === undefined) return
    if (chain.topology !== undefined) {
      chain.replace(topology)
      this.#ports.adopted(false)
      return
    }
    this.#ports.found()
    const encoded = encodeTopology(topology, 'node')
    store.saveRecord(encoded, { sync: true }).then(
      () => {
        if (this.#closed || !chain.replace(topology)) return
        this.#ports.adopted(true)
        if (founded) this.#ports.links.sendToAll({ kind: 'record', topology: encoded })
      },
      (error: unknown) => this.#ports.failed(toCacheError(error)),
    )
  }

  /** An attempt of this node had a value decided. */
  decided(slot: number, value: Uint8Array, sessions: Iterable<ControlSession>): void {
    const links = [...this.#ports.links.all()]
    // In order: who missed one fetches it.
    for (const tell of this.#untold) tell()
    // Told first, learned then: a node that is no longer part of it still hears why.
    this.#untold = links.map((link) => () => link.send({ kind: 'decided', slot, value }))
    const pauseMs = this.#canSpread(value) ? Math.min(SPREAD_MS, SPREAD_MAX_MS / links.length) : 0
    this.#spread?.cancel()
    // This node is the first.
    if (pauseMs > 0) this.#spread = this.#ports.scheduler.after(pauseMs, () => this.#tellNext(pauseMs))
    else this.#tellNext(0)
    const reached = new Set(links.map((link) => link.peer?.nodeId))
    for (const session of sessions) {
      if (!reached.has(session.peer.nodeId)) session.send({ kind: 'fetched', slot, value })
    }
    // What this node makes of it takes milliseconds: the others need not wait for that.
    this.#ports.scheduler.nextTurn(() => {
      if (!this.#closed) this.learn(slot, value, () => this.#fetchWhole())
    })
  }

  #canSpread(value: Uint8Array): boolean {
    const { topology } = this.#ports.chain
    return topology !== undefined && decodeValue(value).changes.every((change) => canSpread(topology, change))
  }

  #tellNext(pauseMs: number): void {
    this.#spread?.cancel()
    this.#spread = undefined
    if (this.#closed) return
    if (pauseMs === 0) {
      for (const tell of this.#untold.splice(0)) tell()
      return
    }
    this.#untold.shift()?.()
    if (this.#untold.length > 0)
      this.#spread = this.#ports.scheduler.after(pauseMs, () => this.#tellNext(pauseMs))
  }

  /** Sends what leads from `epoch` to what is known. */
  teach(epoch: number, send: (lesson: Lesson) => void): void {
    const { chain } = this.#ports
    if (epoch >= chain.epoch) return
    const values = epoch === 0 ? undefined : chain.since(epoch)
    if (values === undefined) send({ kind: 'record', topology: chain.encoded })
    else for (const { slot, value } of values) send({ kind: 'decided', slot, value })
  }

  /** The node at the other end knows more. */
  fetch(link: ControlLink): void {
    const nowMs = this.#ports.clock.monotonicMs()
    // Several nodes may say at once that they know more.
    if (nowMs - this.#fetchedMs < FETCH_PAUSE_MS) return
    if (link.send({ kind: 'fetch', epoch: this.#ports.chain.epoch })) this.#fetchedMs = nowMs
  }

  #fetchWhole(): void {
    for (const link of this.#ports.links.all()) if (link.send({ kind: 'fetch', epoch: 0 })) return
  }

  #check(topology: Topology): void {
    const { clusterName, nodeId } = this.#options
    const known = this.#ports.chain.topology?.clusterId
    if (topology.clusterName !== clusterName)
      throw new CacheError(
        'WRONG_CLUSTER',
        `a topology of cluster ${topology.clusterName}, not ${clusterName}`,
      )
    if (known !== undefined && topology.clusterId !== known) {
      throw new CacheError(
        'WRONG_CLUSTER',
        `${nodeId} belongs to cluster ${known}, not ${topology.clusterId}: to have it join that one, move its data directory away`,
      )
    }
    if (topology.hashKey === undefined)
      throw new CacheError('PROTOCOL_ERROR', 'a topology without the hash key, as clients get it')
  }
}

/** The same lesson as an answer to FETCH. */
export function asAnswer(lesson: Lesson): ControlMessage {
  return lesson.kind === 'decided' ? { ...lesson, kind: 'fetched' } : { ...lesson, kind: 'fetchedRecord' }
}
