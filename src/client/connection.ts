/**
 * One stream to one node, opened again whenever it is lost.
 *
 * idle → connecting → greeting → ready → (draining) → waiting → connecting …, and closed from anywhere. A node that
 * refuses twice, over at least 200 ms, counts as down: what waits for it fails and what is submitted is refused at once,
 * until it answers again. Reconnecting goes on in the background, 50 ms to 2 s apart, jittered.
 *
 * A frame that is malformed closes the stream: what it left unanswered fails, and nothing hangs.
 */

import { ByteReader } from '../kernel/bytes.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import { type Random, uniform } from '../kernel/random.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import { FrameType } from '../wire/frames.ts'
import { decodeError, decodeWelcome, type Welcome } from '../wire/handshake.ts'
import { readErrorResult, Status } from '../wire/results.ts'
import type { Dialer, FrameHandler, FrameStream } from '../wire/transport.ts'
import { Batcher } from './batcher.ts'
import type { Call, FailureStage, Link, PendingBudget } from './pending.ts'
import type { Target } from './target.ts'
import type { TurnClock } from './turn-clock.ts'

const RECONNECT_MIN_MS = 50
const RECONNECT_MAX_MS = 2_000
/** A node counts as down after so many refusals … */
const DOWN_FAILURES = 2
/** … over so many milliseconds. */
const DOWN_AFTER_MS = 200
/** A stream that lasted this long, in milliseconds, is opened again without waiting. */
const STABLE_MS = 1_000

export interface ConnectionPorts {
  readonly clock: TurnClock
  readonly scheduler: Scheduler
  readonly random: Random
  readonly dialer: Dialer
  readonly budget: PendingBudget
  readonly connectTimeoutMs: number
}

export interface ConnectionEvents {
  /** The HELLO for the next stream. */
  hello(lane: 'operations' | 'bulk'): Uint8Array
  /** @throws CacheError when the node is not one to talk to (another cluster). */
  welcomed(welcome: Welcome): void
  /** The stream is open and takes frames. */
  ready(): void
  /** A newer topology was pushed. */
  topology(bytes: Uint8Array): void
  failed(call: Call, slot: number, error: CacheError, stage: FailureStage): void
  /** A value's bytes on a bulk stream. */
  value(requestId: number, bytes: Uint8Array): void
  /** The stream's buffer has room again. */
  drained(): void
  /** The stream is lost, or could not be opened. */
  lost(error: CacheError): void
}

type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'connecting'; readonly stream: FrameStream; readonly timer: Timer }
  | { readonly kind: 'ready' | 'draining'; readonly stream: FrameStream }
  | { readonly kind: 'waiting'; readonly timer: Timer }
  | { readonly kind: 'closed' }

export class Connection {
  readonly batcher: Batcher
  readonly #link: Link
  readonly #lane: 'operations' | 'bulk'
  readonly #ports: ConnectionPorts
  readonly #events: ConnectionEvents
  readonly #reader = new ByteReader(new Uint8Array(0))
  #state: State = { kind: 'idle' }
  #failures = 0
  #firstFailureMs = 0
  /** Losses in a row that came soon after connecting; decides the wait before the next attempt. */
  #backoffStep = 0
  #readyAtMs = 0
  #lastError: CacheError | undefined

  constructor(link: Link, lane: 'operations' | 'bulk', ports: ConnectionPorts, events: ConnectionEvents) {
    this.#link = link
    this.#lane = lane
    this.#ports = ports
    this.#events = events
    this.batcher = new Batcher({
      link,
      clock: ports.clock,
      scheduler: ports.scheduler,
      budget: ports.budget,
      window: 1,
      failed: (call, slot, error, stage) => events.failed(call, slot, error, stage),
      stuck: () => this.#reset(this.#unavailable('stopped answering')),
    })
  }

  /** Whether a stream is open or being opened. */
  get isOpen(): boolean {
    return this.#state.kind === 'connecting' || this.#state.kind === 'ready'
  }

  get isReady(): boolean {
    return this.#state.kind === 'ready'
  }

  /** Why nothing should be sent there now; undefined while it may work. */
  get downError(): CacheError | undefined {
    if (this.#failures === 0 || this.#state.kind === 'ready' || this.#state.kind === 'draining')
      return undefined
    const error = this.#lastError
    if (error !== undefined && !error.retryable) return error
    if (this.#failures < DOWN_FAILURES) return undefined
    return this.#ports.clock.nowMs() - this.#firstFailureMs >= DOWN_AFTER_MS ? error : undefined
  }

  /** @throws CacheError UNAVAILABLE when the node is down, OVERLOADED when too much is pending. */
  submit(call: Call, slot: number, target: Target): void {
    if (this.#state.kind !== 'ready') this.#makeReady()
    this.batcher.add(call, slot, target)
  }

  connect(): void {
    if (this.#state.kind === 'idle') this.#open()
  }

  /** Dials now what waits to be dialed again: the node is said to be back. */
  retryNow(): void {
    const state = this.#state
    if (state.kind !== 'waiting') return
    state.timer.cancel()
    this.#backoffStep = 1
    this.#open()
  }

  /** Sends a frame that is no request. @returns false when the stream asks to wait for `drained`. */
  send(message: Uint8Array): boolean {
    const state = this.#state
    return state.kind === 'ready' ? state.stream.send(message) : true
  }

  /** `send` for a frame whose bytes lie in `part` but for `head`; they must not change until `sent` is called. */
  sendPart(head: Uint8Array, part: Uint8Array, sent: () => void): boolean {
    const state = this.#state
    if (state.kind === 'ready') return state.stream.sendParts(head, [part], sent)
    sent()
    return true
  }

  /** Stops delivering frames, or goes on. */
  setPaused(paused: boolean): void {
    const state = this.#state
    if (state.kind !== 'ready') return
    if (paused) state.stream.pause()
    else state.stream.resume()
  }

  /** Fails what is not answered and what waits to be sent, and opens another stream. */
  giveUp(why: string): void {
    const error = new CacheError('UNAVAILABLE', why, { node: this.#link.name })
    this.#reset(error)
    this.batcher.failUnsent(error)
  }

  close(error: CacheError): void {
    const state = this.#state
    this.#state = { kind: 'closed' }
    if ('timer' in state) state.timer.cancel()
    if ('stream' in state) state.stream.close()
    this.batcher.stop(error)
    this.batcher.failUnsent(error)
    this.batcher.close()
  }

  #makeReady(): void {
    const down = this.downError
    if (down !== undefined) throw down
    if (this.#state.kind === 'closed') throw new CacheError('CLOSED', 'the client is closed')
    if (this.#state.kind === 'draining') throw this.#unavailable('is going away')
    this.connect()
  }

  #open(): void {
    const { dialer, scheduler, connectTimeoutMs } = this.#ports
    const timer = scheduler.after(connectTimeoutMs, () => {
      this.#reset(this.#unavailable(`did not answer within ${connectTimeoutMs} ms`))
    })
    const handler = new StreamHandler(this)
    const options = { service: 'cache', lane: this.#lane, connectTimeoutMs } as const
    const stream = dialer.open(this.#link.address, options, handler)
    handler.stream = stream
    this.#state = { kind: 'connecting', stream, timer }
    stream.send(this.#events.hello(this.#lane))
  }

  /** Called by the stream's handler. */
  onFrame(stream: FrameStream, body: Uint8Array): void {
    const state = this.#state
    if (!('stream' in state) || state.stream !== stream) return
    try {
      // Text is read faster from a Buffer than from a plain array.
      const r = this.#reader.reset(
        Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength),
      )
      const type = r.uint8()
      if (type === FrameType.response && state.kind !== 'connecting') this.#onResponse(r)
      else this.#onOther(type, r, state.kind)
    } catch (error) {
      this.#reset(toCacheError(error))
    }
  }

  onDrained(stream: FrameStream): void {
    const state = this.#state
    if ('stream' in state && state.stream === stream) this.#events.drained()
  }

  onClosed(stream: FrameStream, error: CacheError | undefined): void {
    const state = this.#state
    if (!('stream' in state) || state.stream !== stream) return
    this.#lose(error ?? this.#unavailable('closed the stream'))
  }

  #onResponse(r: ByteReader): void {
    const answers = r.uint32()
    const { ring } = this.batcher
    const link = this.#link
    while (r.at < r.end) {
      const requestId = r.uint32()
      const status = r.uint8()
      const at = ring.find(requestId)
      if (at < 0)
        throw new CacheError(
          'PROTOCOL_ERROR',
          `node ${link.name} answered request ${requestId}, which is not pending`,
        )
      const call = ring.call(at)
      const slot = ring.slot(at)
      const abandoned = ring.start(at) < 0
      if (status >= Status.error) {
        const error = readErrorResult(r, status, link.name)
        this.batcher.finish(at)
        if (!abandoned) this.#events.failed(call, slot, error, 'answered')
        continue
      }
      call.result(slot, status, r, link, requestId)
      this.batcher.finish(at)
    }
    this.batcher.answered(answers)
    if (this.#state.kind === 'draining' && this.batcher.sentLive === 0)
      this.#reset(this.#unavailable('went away'))
  }

  #onOther(type: number, r: ByteReader, kind: State['kind']): void {
    if (type === FrameType.welcome && kind === 'connecting') {
      this.#onWelcome(decodeWelcome(r))
      return
    }
    if (type === FrameType.error) {
      this.#reset(decodeError(r))
      return
    }
    if (kind !== 'connecting') {
      switch (type) {
        case FrameType.value:
          this.#events.value(r.uint32(), r.raw(r.remaining))
          return
        case FrameType.topology:
          this.#events.topology(r.blob())
          return
        case FrameType.goAway:
          this.#onGoAway()
          return
      }
    }
    throw new CacheError(
      'PROTOCOL_ERROR',
      `node ${this.#link.name} sent an unexpected frame 0x${type.toString(16)}`,
    )
  }

  #onWelcome(welcome: Welcome): void {
    const state = this.#state
    if (state.kind !== 'connecting') return
    this.#events.welcomed(welcome)
    // What was just done may have closed this connection.
    if (this.#state !== state) return
    state.timer.cancel()
    this.#state = { kind: 'ready', stream: state.stream }
    this.#failures = 0
    this.#lastError = undefined
    this.#readyAtMs = this.#ports.clock.nowMs()
    this.batcher.start((message) => state.stream.send(message), welcome.creditBytes, welcome.operationsMax)
    this.#events.ready()
  }

  #onGoAway(): void {
    const state = this.#state
    if (state.kind !== 'ready') return
    this.#state = { kind: 'draining', stream: state.stream }
    this.batcher.hold()
    this.batcher.failUnsent(this.#unavailable('is going away'))
    if (this.batcher.sentLive === 0) this.#reset(this.#unavailable('went away'))
  }

  /** Ends the stream from this side. */
  #reset(error: CacheError): void {
    const state = this.#state
    if (!('stream' in state)) return
    state.stream.close(true)
    this.#lose(error)
  }

  #lose(cause: CacheError): void {
    const state = this.#state
    if (!('stream' in state)) return
    const error = cause.node === this.#link.name ? cause : this.#named(cause)
    const nowMs = this.#ports.clock.nowMs()
    if (this.#failures === 0) this.#firstFailureMs = nowMs
    if (state.kind === 'connecting') {
      state.timer.cancel()
      this.#failures++
    } else if (nowMs - this.#readyAtMs >= STABLE_MS) {
      this.#backoffStep = 0
    }
    this.#lastError = error
    this.#wait()
    this.batcher.stop(error)
    const down = this.downError
    if (down !== undefined) this.batcher.failUnsent(down)
    this.#events.lost(error)
  }

  #wait(): void {
    const { scheduler, random } = this.#ports
    const step = this.#backoffStep++
    const ceilingMs =
      step === 0 ? 0 : Math.min(RECONNECT_MAX_MS, RECONNECT_MIN_MS * 2 ** Math.min(10, step - 1))
    const timer = scheduler.after(ceilingMs * (0.5 + 0.5 * uniform(random)), () => {
      if (this.#state.kind === 'waiting') this.#open()
    })
    this.#state = { kind: 'waiting', timer }
  }

  #named(error: CacheError): CacheError {
    return new CacheError(error.code, `node ${this.#link.name}: ${error.message}`, {
      node: this.#link.name,
      cause: error,
    })
  }

  #unavailable(what: string): CacheError {
    const { name, address } = this.#link
    return new CacheError('UNAVAILABLE', `node ${name} (${address}) ${what}`, { node: name })
  }
}

/** Tells the connection's streams apart: one that was given up may still report. */
class StreamHandler implements FrameHandler {
  stream: FrameStream | undefined
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  frame(body: Uint8Array): void {
    if (this.stream !== undefined) this.#connection.onFrame(this.stream, body)
  }

  drained(): void {
    if (this.stream !== undefined) this.#connection.onDrained(this.stream)
  }

  closed(error: CacheError | undefined): void {
    if (this.stream !== undefined) this.#connection.onClosed(this.stream, error)
  }
}
