/**
 * What the client keeps of one node: a stream for operations, one for large values once it is needed, and the session
 * under which its writes are numbered. It outlives the streams.
 */

import { CacheError } from '../kernel/errors.ts'
import { randomHex } from '../kernel/random.ts'
import type { Scheduler } from '../kernel/scheduler.ts'
import { PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN } from '../wire/frames.ts'
import { encodeHello, type Welcome } from '../wire/handshake.ts'
import { type BulkHost, BulkTransfers } from './bulk.ts'
import { Connection, type ConnectionPorts } from './connection.ts'
import { OperationIds } from './operation-ids.ts'
import { type Call, type FailureStage, reserve } from './pending.ts'
import type { Target } from './target.ts'
import type { TurnClock } from './turn-clock.ts'

export interface LinkOptions {
  readonly ports: ConnectionPorts
  readonly clientName: string
  /** Applies to operations without a timeout of their own, in milliseconds. */
  readonly timeoutMs: number
}

export interface LinkEvents {
  /** The cluster this client belongs to; '' before the first contact. */
  clusterId(): string
  /** @throws CacheError when the node is not one to talk to. */
  welcomed(link: NodeLink, welcome: Welcome): void
  topology(link: NodeLink, bytes: Uint8Array): void
  failed(call: Call, slot: number, error: CacheError, stage: FailureStage): void
  lost(link: NodeLink, error: CacheError): void
}

export class NodeLink implements BulkHost {
  readonly address: string
  readonly ids: OperationIds
  readonly operations: Connection
  readonly bulk: BulkTransfers
  /** The node's configured name, its address until that is known. */
  name: string
  /** Of the process there, as its last WELCOME said; '' before that. */
  incarnation = ''
  /**
   * False while the process there is another one than the topology names: it holds no replicas, and gets none before a newer
   * topology takes it back.
   */
  hasRole = true
  /** Largest value the node accepts, in bytes; 0 until known. */
  valueBytesMax = 0
  readonly #options: LinkOptions
  readonly #events: LinkEvents
  #streams = 0

  constructor(address: string, options: LinkOptions, events: LinkEvents) {
    this.address = address
    this.name = address
    this.#options = options
    this.#events = events
    this.ids = new OperationIds(randomHex(options.ports.random, 16))
    this.operations = this.#connection('operations')
    this.bulk = new BulkTransfers(this, (transfers) => this.#connection('bulk', transfers))
  }

  get clock(): TurnClock {
    return this.#options.ports.clock
  }

  get scheduler(): Scheduler {
    return this.#options.ports.scheduler
  }

  /** Counts an operation that waits outside a batcher. @throws CacheError OVERLOADED. */
  reserve(): void {
    reserve(this.#options.ports.budget)
  }

  release(): void {
    this.#options.ports.budget.count--
  }

  /** An operation failed here: the router decides what becomes of it. */
  report(call: Call, slot: number, error: CacheError, stage: FailureStage): void {
    this.#events.failed(call, slot, error, stage)
  }

  submit(call: Call, slot: number, target: Target): void {
    if (call.lane === 'bulk') this.bulk.submit(call, slot, target)
    else this.operations.submit(call, slot, target)
  }

  abandon(call: Call, error: CacheError): void {
    this.operations.batcher.abandon(call, error)
    this.bulk.abandon(call, error)
  }

  get isDown(): boolean {
    return this.operations.downError !== undefined
  }

  /** Dials at once if it waits to do so. */
  retryNow(): void {
    this.operations.retryNow()
    this.bulk.retryNow()
  }

  /** Fails what is not answered yet, as if the streams had broken, and opens them anew. */
  giveUp(why: string): void {
    this.operations.giveUp(why)
    this.bulk.giveUp(why)
  }

  close(error: CacheError): void {
    this.operations.close(error)
    this.bulk.close(error)
  }

  #connection(lane: 'operations' | 'bulk', transfers?: BulkTransfers): Connection {
    return new Connection(this, lane, this.#options.ports, {
      hello: () => this.#hello(lane),
      welcomed: (welcome) => {
        this.incarnation = welcome.incarnation
        this.#events.welcomed(this, welcome)
        this.name = welcome.nodeId
        this.valueBytesMax = welcome.valueBytesMax
      },
      topology: (bytes) => this.#events.topology(this, bytes),
      ready: () => transfers?.ready(),
      failed: (call, slot, error, stage) => {
        if (transfers === undefined) this.report(call, slot, error, stage)
        else transfers.failed(call, error, stage)
      },
      value: (requestId, bytes) => {
        if (transfers === undefined)
          throw new CacheError('PROTOCOL_ERROR', 'a VALUE frame outside a bulk stream')
        transfers.value(requestId, bytes)
      },
      drained: () => transfers?.drained(),
      lost: (error) => {
        transfers?.lost(error)
        if (lane === 'operations') this.#events.lost(this, error)
      },
    })
  }

  #hello(lane: 'operations' | 'bulk'): Uint8Array {
    return encodeHello({
      versionMin: PROTOCOL_VERSION_MIN,
      versionMax: PROTOCOL_VERSION_MAX,
      lane,
      session: this.ids.session,
      streamNumber: ++this.#streams,
      clusterId: this.#events.clusterId(),
      clientName: this.#options.clientName,
      token: '',
      timeoutMs: this.#options.timeoutMs,
    })
  }
}
