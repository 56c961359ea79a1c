/** What all regions of one client share: connections, codec, settings. */

import type { Clock } from '../kernel/clock.ts'
import { CacheError } from '../kernel/errors.ts'
import type { Random } from '../kernel/random.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import type { Dialer } from '../wire/transport.ts'
import type { CallBudget, CallServices } from './call.ts'
import { ValueCodec } from './codecs/value-codec.ts'
import { CopyPool } from './copy-pool.ts'
import { type CallOptions, type ClientSettings, parseTimeoutMs } from './options.ts'
import type { PendingBudget } from './pending.ts'
import { Router } from './router.ts'
import { Signals } from './signals.ts'
import { TurnClock } from './turn-clock.ts'

/** Opening one stream may take so long, in milliseconds; several are tried within `connectTimeout`. */
const DIAL_TIMEOUT_MS = 1_000
/** A value that claims to be larger than this once decompressed is refused, in bytes. */
const RAW_BYTES_MAX = 256 * 1024 * 1024
/** Until a node has said otherwise. */
const VALUE_BYTES_MAX_DEFAULT = 16 * 1024 * 1024

export interface ClientPorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly random: Random
  readonly dialer: Dialer
}

export class ClientCore implements CallServices {
  readonly settings: ClientSettings
  readonly router: Router
  readonly values: ValueCodec
  readonly copies: CopyPool
  readonly clock: TurnClock
  readonly pending: PendingBudget
  readonly signals: Signals = new Signals()
  readonly #ports: ClientPorts
  readonly #onClose: () => Promise<void>
  #closed: Promise<void> | undefined
  /** Filled anew for each call, which copies it. */
  readonly #budget = { deadlineMs: 0, timeoutMs: 0 }

  constructor(ports: ClientPorts, settings: ClientSettings, onClose: () => Promise<void>) {
    this.#ports = ports
    this.#onClose = onClose
    this.settings = settings
    this.clock = new TurnClock(ports.clock, ports.scheduler)
    this.pending = { count: 0, max: settings.maxPending }
    this.values = new ValueCodec({
      serializer: settings.serializer,
      compressFromBytes: settings.compressFromBytes,
      rawBytesMax: RAW_BYTES_MAX,
    })
    const { scheduler, random, dialer } = ports
    this.copies = new CopyPool(scheduler)
    this.router = new Router({
      clock: this.clock,
      scheduler,
      random,
      retry: settings.retry,
      clientName: settings.name,
      timeoutMs: settings.timeoutMs,
      ports: {
        clock: this.clock,
        scheduler,
        random,
        dialer,
        budget: this.pending,
        connectTimeoutMs: Math.min(DIAL_TIMEOUT_MS, settings.connectTimeoutMs),
      },
    })
  }

  wallMs(): number {
    return this.#ports.clock.wallMs()
  }

  get valueBytesMax(): number {
    return this.router.nodes.find((link) => link.valueBytesMax > 0)?.valueBytesMax ?? VALUE_BYTES_MAX_DEFAULT
  }

  /** The time a call has. Valid until the next call. */
  budget(options: CallOptions | undefined): CallBudget {
    const budget = this.#budget
    const { timeoutMs } = this.settings
    const own = options?.timeout === undefined ? timeoutMs : parseTimeoutMs(options.timeout)
    budget.deadlineMs = this.clock.nowMs() + own
    budget.timeoutMs = own === timeoutMs ? 0 : own
    return budget
  }

  /** Resolves once a topology is known. @throws CacheError saying of each address why it was not reached. */
  contact(): Promise<void> {
    const { nodes, connectTimeoutMs } = this.settings
    const errors = new Map<string, CacheError>()
    return new Promise((resolve, reject) => {
      let timer: Timer | undefined
      const fail = (error: CacheError): void => {
        timer?.cancel()
        reject(error)
      }
      timer = this.#ports.scheduler.after(connectTimeoutMs, () => {
        const greeted = nodes.filter((address) => this.router.isGreeted(address))
        const reasons = nodes.map((address) => {
          if (greeted.includes(address)) return `${address}: the cluster is still starting`
          return `${address}: ${errors.get(address)?.message ?? 'no answer'}`
        })
        const code = greeted.length > 0 ? 'NOT_READY' : 'UNAVAILABLE'
        fail(
          new CacheError(code, `no node could be used within ${connectTimeoutMs} ms (${reasons.join('; ')})`),
        )
      })
      this.router.start(nodes, (error, address) => {
        if (error === undefined) {
          timer?.cancel()
          resolve()
          return
        }
        errors.set(address, error)
        // What is wrong with every node is not worth waiting for.
        if (!error.retryable && nodes.every((node) => errors.get(node)?.retryable === false)) fail(error)
      })
    })
  }

  close(): Promise<void> {
    this.#closed ??= this.#shutDown()
    return this.#closed
  }

  async #shutDown(): Promise<void> {
    this.router.close()
    this.copies.close()
    this.#ports.dialer.close()
    await this.#onClose()
  }
}
