/**
 * The accepting end of an Exchange stream, on the call that grpc-js hands to server interceptors (as in client-stream.ts,
 * the object streams above it are not used).
 *
 * Writes go straight to HTTP/2, which sends those of one turn together; `queuedBytes` counts what it has not confirmed.
 * Reading is one message at a time, so that a handler that pauses stops the sender within its flow-control window.
 */

import { Metadata, type ServerInterceptingCallInterface, status as Status } from '@grpc/grpc-js'
import { CacheError, toCacheError } from '../../kernel/errors.ts'
import { openFrame } from '../../wire/frames.ts'
import { encodeError } from '../../wire/handshake.ts'
import type { FrameHandler, FrameStream } from '../../wire/transport.ts'
import { asBuffer, QUEUE_HIGH_BYTES, QUEUE_LOW_BYTES } from './channel-options.ts'
import { resetCall } from './http2-stream.ts'

/** How long an orderly close may take before the stream is reset: the other side may have stopped reading. */
const CLOSE_TIMEOUT_MS = 2_000

/** `closing`: our status is queued behind our frames. `closed`: the handler was told. */
type State = 'open' | 'closing' | 'aborted' | 'closed'

export class GrpcServerStream implements FrameStream {
  readonly #call: ServerInterceptingCallInterface
  readonly #onClosed: () => void
  #handler: FrameHandler | undefined
  #state: State = 'open'
  #timer: NodeJS.Timeout | undefined
  #queuedBytes = 0
  #aboveMark = false
  #paused = false
  #reading = false
  #held: Buffer | undefined
  /** The other side ended its direction while a frame was held. */
  #heldEnd = false
  #failure: CacheError | undefined

  constructor(call: ServerInterceptingCallInterface, onClosed: () => void) {
    this.#call = call
    this.#onClosed = onClosed
    // The headers tell the other side that the stream stands.
    call.sendMetadata(new Metadata())
  }

  /** Delivers to `handler` from now on. */
  start(handler: FrameHandler): void {
    this.#handler = handler
    if (!this.#paused) this.#read()
  }

  get queuedBytes(): number {
    return this.#queuedBytes
  }

  send(message: Uint8Array): boolean {
    if (this.#state !== 'open') return true
    const { length } = message
    this.#queuedBytes += length
    this.#call.sendMessage(asBuffer(message), () => this.#written(length))
    if (this.#queuedBytes <= QUEUE_HIGH_BYTES) return true
    this.#aboveMark = true
    return false
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    if (this.#held === undefined) this.#read()
    else process.nextTick(() => this.#deliverHeld())
  }

  close(abort = false): void {
    if (abort) this.#abort(undefined)
    else if (this.#state === 'open') this.#endOrderly()
  }

  // What the call reports; wired up in server.ts.

  received(message: Buffer): void {
    this.#reading = false
    if (this.#paused) this.#held = message
    else this.#deliver(message)
  }

  halfClosed(): void {
    if (this.#held !== undefined) this.#heldEnd = true
    else this.#answerEnd()
  }

  /** The call is over, for whatever reason. */
  ended(): void {
    if (this.#state === 'closed') return
    const orderly = this.#state !== 'open'
    this.#state = 'closed'
    clearTimeout(this.#timer)
    this.#held = undefined
    this.#queuedBytes = 0
    this.#onClosed()
    const broken = new CacheError('UNAVAILABLE', `the stream from ${this.#call.getPeer()} was reset`)
    this.#handler?.closed(this.#failure ?? (orderly ? undefined : broken))
  }

  #read(): void {
    if (this.#reading || this.#handler === undefined) return
    this.#reading = true
    this.#call.startRead()
  }

  #deliver(message: Buffer): void {
    if (this.#state !== 'open') return
    try {
      this.#handler?.frame(openFrame(message))
    } catch (error) {
      this.#reject(toCacheError(error))
      return
    }
    if (!this.#paused) this.#read()
  }

  #deliverHeld(): void {
    const held = this.#held
    if (held === undefined || this.#paused) return
    this.#held = undefined
    this.#deliver(held)
    if (this.#heldEnd) this.#answerEnd()
  }

  #written(length: number): void {
    if (this.#state === 'closed') return
    this.#queuedBytes -= length
    if (this.#aboveMark && this.#queuedBytes <= QUEUE_LOW_BYTES) {
      this.#aboveMark = false
      if (this.#state === 'open') this.#handler?.drained()
    }
  }

  /** The other side has ended its direction in order. */
  #answerEnd(): void {
    if (this.#state === 'open') this.#endOrderly()
  }

  /** Tells the other side why, then ends. With status OK: grpc-js drops frames that arrive together with an error. */
  #reject(error: CacheError): void {
    if (this.#state !== 'open') return
    this.#failure = error
    this.send(encodeError(error.code, error.message))
    this.#endOrderly()
  }

  #endOrderly(): void {
    this.#state = 'closing'
    this.#held = undefined
    this.#timer = setTimeout(() => this.#abort(this.#failure), CLOSE_TIMEOUT_MS)
    this.#call.sendStatus({ code: Status.OK, details: '' })
    // What still arrives is dropped, but has to be read for the end to be seen.
    this.#call.startRead()
  }

  #abort(failure: CacheError | undefined): void {
    if (this.#state === 'closed' || this.#state === 'aborted') return
    this.#state = 'aborted'
    this.#failure = failure
    clearTimeout(this.#timer)
    resetCall(this.#call)
    process.nextTick(() => this.ended())
  }
}
