/**
 * The dialling end of an Exchange stream, on the call interface of a grpc-js channel rather than on its Duplex. The cost per
 * message is the same; what is gained is a queue that is counted in bytes and can be dropped.
 *
 * grpc-js writes one message at a time and confirms it when HTTP/2 took it, so the queue lives here. A connection
 * belongs to one stream: it is opened with it and closed with it. That keeps lanes and services apart, reports a refused
 * connection at once (a kept channel would sit out its reconnect backoff), and makes an abort release everything.
 */

import { Channel, credentials, Metadata, status as Status, type StatusObject } from '@grpc/grpc-js'
import { CacheError, toCacheError } from '../../kernel/errors.ts'
import { openFrame } from '../../wire/frames.ts'
import type { DialOptions, FrameHandler, FrameStream } from '../../wire/transport.ts'
import {
  asBuffer,
  CLIENT_OPTIONS,
  EXCHANGE_PATHS,
  QUEUE_HIGH_BYTES,
  QUEUE_LOW_BYTES,
} from './channel-options.ts'
import { errorOfStatus } from './status.ts'

const CONNECT_TIMEOUT_MS = 1_000
/** How long an orderly close may take before the stream is reset. */
const CLOSE_TIMEOUT_MS = 2_000

type RawCall = ReturnType<Channel['createCall']>
/**
 * `closing`: close() was called, the queue is still being sent. `closed`: the handler was told.
 */
type State = 'connecting' | 'open' | 'closing' | 'aborted' | 'closed'

export class GrpcClientStream implements FrameStream {
  readonly #address: string
  readonly #handler: FrameHandler
  readonly #onClosed: (stream: GrpcClientStream) => void
  #state: State = 'connecting'
  #channel: Channel | undefined
  #call: RawCall | undefined
  #timer: NodeJS.Timeout | undefined

  #queue: Buffer[] = []
  #queueHead = 0
  /** The message grpc-js is writing; it may hold only one. */
  #writing: Buffer | undefined
  #queuedBytes = 0
  #aboveMark = false

  #paused = false
  #reading = false
  /** Arrived while paused: reading was already asked for. */
  #held: Buffer | undefined
  /** An orderly end that waits for `#held` to be delivered. */
  #heldEnd = false
  /** Why this side gave up; reported instead of the status that this produces. */
  #failure: CacheError | undefined

  constructor(
    address: string,
    options: DialOptions,
    handler: FrameHandler,
    onClosed: (stream: GrpcClientStream) => void,
  ) {
    this.#address = address
    this.#handler = handler
    this.#onClosed = onClosed
    try {
      this.#connect(options)
    } catch (cause) {
      const text = cause instanceof Error ? cause.message : String(cause)
      this.#failure = new CacheError('INVALID_ARGUMENT', `${address} is no address to connect to: ${text}`, {
        cause,
      })
      process.nextTick(() => this.#finish(this.#failure))
    }
  }

  get queuedBytes(): number {
    return this.#queuedBytes
  }

  send(message: Uint8Array): boolean {
    if (this.#state !== 'open' && this.#state !== 'connecting') return true
    const buffer = asBuffer(message)
    this.#queuedBytes += buffer.length
    if (this.#writing === undefined) this.#write(buffer)
    else this.#queue.push(buffer)
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
    if (this.#state === 'closed' || this.#state === 'aborted') return
    if (abort) {
      this.#abort(undefined)
      return
    }
    if (this.#state === 'closing') return
    this.#setState('closing')
    this.#held = undefined
    this.#startTimer(CLOSE_TIMEOUT_MS, () => this.#abort(undefined))
    if (this.#heldEnd) process.nextTick(() => this.#finish(undefined))
    else if (this.#writing === undefined) this.#endWriting()
  }

  #connect(options: DialOptions): void {
    const timeoutMs = options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS
    this.#channel = new Channel(this.#address, credentials.createInsecure(), CLIENT_OPTIONS)
    this.#call = this.#channel.createCall(
      EXCHANGE_PATHS[options.service],
      Number.POSITIVE_INFINITY,
      null,
      null,
      null,
    )
    this.#startTimer(timeoutMs, () => {
      const message = `no connection to ${this.#address} within ${timeoutMs} ms: is the node running and reachable?`
      this.#abort(new CacheError('UNAVAILABLE', message, { node: this.#address }))
    })
    this.#call.start(new Metadata(), {
      onReceiveMetadata: () => this.#connected(),
      onReceiveMessage: (message: Buffer) => this.#received(message),
      onReceiveStatus: (status: StatusObject) => this.#ended(status),
    })
    this.#read()
  }

  /** The node accepts a stream by sending its headers. */
  #connected(): void {
    if (this.#state !== 'connecting') return
    this.#clearTimer()
    this.#setState('open')
  }

  #read(): void {
    if (this.#reading || this.#call === undefined) return
    this.#reading = true
    this.#call.startRead()
  }

  #received(message: Buffer): void {
    this.#reading = false
    if (this.#state === 'connecting') this.#connected()
    if (this.#state === 'closing') this.#read()
    else if (this.#paused) this.#held = message
    else this.#deliver(message)
  }

  #deliver(message: Buffer): void {
    if (this.#state !== 'open') return
    try {
      this.#handler.frame(openFrame(message))
    } catch (error) {
      this.#abort(toCacheError(error))
      return
    }
    if (!this.#paused) this.#read()
  }

  #deliverHeld(): void {
    const held = this.#held
    if (held === undefined || this.#paused) return
    this.#held = undefined
    this.#deliver(held)
    if (this.#heldEnd) this.#finish(undefined)
  }

  #write(buffer: Buffer): void {
    this.#writing = buffer
    this.#call?.sendMessageWithContext({ callback: this.#written }, buffer)
  }

  readonly #written = (): void => {
    const written = this.#writing
    if (written === undefined) return
    this.#queuedBytes -= written.length
    const next = this.#queue[this.#queueHead]
    if (next === undefined) {
      this.#writing = undefined
      this.#queue.length = 0
      this.#queueHead = 0
      if (this.#state === 'closing') this.#endWriting()
    } else {
      // The sent ones are cut off in runs, so that a queue that never empties stays short.
      if (++this.#queueHead === 256) {
        this.#queue.splice(0, 256)
        this.#queueHead = 0
      }
      this.#write(next)
    }
    if (this.#aboveMark && this.#queuedBytes <= QUEUE_LOW_BYTES) {
      this.#aboveMark = false
      if (this.#state === 'open') this.#handler.drained()
    }
  }

  #endWriting(): void {
    this.#call?.halfClose()
    // What the node still sends is read and dropped, so that its status gets through.
    this.#read()
  }

  #abort(failure: CacheError | undefined): void {
    if (this.#state === 'closed' || this.#state === 'aborted') return
    this.#setState('aborted')
    this.#failure = failure
    this.#dropQueue()
    this.#call?.cancelWithStatus(Status.CANCELLED, 'aborted')
    if (this.#call === undefined) process.nextTick(() => this.#finish(failure))
  }

  #ended(status: StatusObject): void {
    if (this.#state === 'aborted') this.#finish(this.#failure)
    else if (this.#state === 'closing') this.#finish(undefined)
    else if (status.code !== Status.OK) this.#finish(errorOfStatus(status, this.#address))
    else if (this.#held === undefined) this.#finish(undefined)
    else this.#heldEnd = true
  }

  #finish(error: CacheError | undefined): void {
    if (this.#state === 'closed') return
    this.#setState('closed')
    this.#clearTimer()
    this.#dropQueue()
    this.#held = undefined
    this.#channel?.close()
    this.#onClosed(this)
    this.#handler.closed(error)
  }

  #dropQueue(): void {
    this.#queue.length = 0
    this.#queueHead = 0
    this.#writing = undefined
    this.#queuedBytes = 0
  }

  #startTimer(delayMs: number, task: () => void): void {
    this.#clearTimer()
    this.#timer = setTimeout(task, delayMs)
  }

  #clearTimer(): void {
    clearTimeout(this.#timer)
  }

  #setState(state: State): void {
    this.#state = state
  }
}
