/**
 * What both ends of an Exchange stream have in common: frames in gRPC's framing on an HTTP/2 stream of node:http2.
 *
 * On the wire this is gRPC, and any gRPC stack can be the other end. grpc-js is passed by for these streams alone: its
 * layers cost about as much per message as HTTP/2 itself (docs/decisions/0009-exchange-on-http2.md has the figures), and
 * on the data path messages are what costs.
 *
 * The ends differ in how they begin and end; subclasses say how.
 */

import type { Http2Stream } from 'node:http2'
import { constants } from 'node:http2'
import { type CacheError, toCacheError } from '../../kernel/errors.ts'
import { isChunk, openFrame } from '../../wire/frames.ts'
import type { FrameHandler, FrameStream } from '../../wire/transport.ts'
import { MESSAGE_BYTES_MAX, QUEUE_HIGH_BYTES } from './channel-options.ts'
import { MessageReader, MessageWriter } from './message-framing.ts'
import { SpentReads } from './spent-reads.ts'

/** How long an orderly close may take before the stream is reset: the other side may have stopped reading. */
const CLOSE_TIMEOUT_MS = 2_000

/**
 * `connecting`: the other side has not accepted yet. `closing`: our end is queued behind our frames. `aborted`: reset,
 * the handler is told in a moment. `closed`: it was told.
 */
type State = 'connecting' | 'open' | 'closing' | 'aborted' | 'closed'

export abstract class ExchangeStream implements FrameStream {
  readonly copies = true
  protected state: State
  /** Something arrived. */
  protected heard = false
  /** Why this side gave up; reported instead of what that causes. */
  protected failure: CacheError | undefined
  #stream: Http2Stream | undefined
  #handler: FrameHandler | undefined
  readonly #writer = new MessageWriter()
  readonly #reader = new MessageReader(MESSAGE_BYTES_MAX)
  readonly #reads: SpentReads
  #timer: NodeJS.Timeout | undefined
  #paused = false
  #aboveMark = false
  /** The other side has ended its direction; it counts once all that came before is delivered. */
  #remoteEnded = false

  /** @param isAlone whether this is the only stream its connection has had */
  protected constructor(state: 'connecting' | 'open', isAlone: () => boolean) {
    this.state = state
    this.#reads = new SpentReads(isAlone)
  }

  get queuedBytes(): number {
    const stream = this.#stream
    return stream === undefined || this.state === 'closed' || stream.destroyed ? 0 : stream.writableLength
  }

  send(message: Uint8Array): boolean {
    const stream = this.#writable()
    if (stream === undefined) return true
    stream.write(this.#writer.frame(message), this.#writer.written)
    return this.#mayGoOn(stream)
  }

  sendParts(head: Uint8Array, parts: readonly Uint8Array[], sent: () => void = () => {}): boolean {
    const stream = this.#writable()
    const last = parts.at(-1)
    if (stream === undefined || last === undefined) {
      const mayGoOn = stream === undefined || this.send(head)
      sent()
      return mayGoOn
    }
    const bytes = parts.reduce((sum, part) => sum + part.length, 0)
    stream.cork()
    stream.write(this.#writer.frame(head, bytes), this.#writer.written)
    // Called when the socket has taken the last part, or when the stream is destroyed.
    for (const part of parts) part === last ? stream.write(part, () => sent()) : stream.write(part)
    stream.uncork()
    return this.#mayGoOn(stream)
  }

  pause(): void {
    this.#paused = true
    this.#stream?.pause()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    // What was cut short in the middle of a chunk comes first, and never from inside this call.
    process.nextTick(() => {
      this.#deliver()
      if (!this.#paused) this.#stream?.resume()
    })
  }

  close(abort = false): void {
    if (abort) this.abort(undefined)
    else if (this.state === 'open' || this.state === 'connecting') this.endOrderly()
  }

  /** Ends this direction, in the way of this end. */
  protected abstract endWriting(stream: Http2Stream): void
  /** The other side has ended its direction in order. */
  protected abstract remoteEnded(): void
  /** The stream is over: what is the handler told? */
  protected abstract reason(): CacheError | undefined
  /** The handler is about to be told; let go of what the stream needed. */
  protected abstract released(): void
  /** The frame is malformed or the handler failed. */
  protected abstract rejected(error: CacheError): void

  /** Frames go to `handler` from now on. */
  protected attach(stream: Http2Stream, handler: FrameHandler): void {
    this.#stream = stream
    this.#handler = handler
    stream.on('data', (chunk: Buffer) => {
      this.heard = true
      if (this.state === 'closing') return
      this.#reads.arrived(chunk)
      this.#reader.push(chunk)
      this.#deliver()
    })
    stream.on('drain', () => {
      if (!this.#aboveMark) return
      this.#aboveMark = false
      if (this.state === 'open') this.#handler?.drained()
    })
    stream.on('end', () => {
      this.#remoteEnded = true
      this.#deliver()
    })
    // The close event follows, and says what is to be said.
    stream.on('error', () => {})
    stream.on('close', () => this.finish())
    if (this.#paused) stream.pause()
  }

  protected endOrderly(): void {
    this.state = 'closing'
    this.startTimer(CLOSE_TIMEOUT_MS, () => this.abort(this.failure))
    const stream = this.#stream
    if (stream === undefined) return
    this.endWriting(stream)
    // What still arrives is dropped, but has to be read for the end to be seen.
    stream.resume()
  }

  protected abort(failure: CacheError | undefined): void {
    if (this.state === 'aborted' || this.state === 'closed') return
    this.state = 'aborted'
    this.failure = failure
    this.stopTimer()
    const stream = this.#stream
    if (stream !== undefined && !stream.destroyed) stream.close(constants.NGHTTP2_CANCEL)
    process.nextTick(() => this.finish())
  }

  /** Tells the handler, once. */
  protected finish(): void {
    if (this.state === 'closed') return
    const error = this.reason()
    this.state = 'closed'
    this.stopTimer()
    this.released()
    const handler = this.#handler
    this.#handler = undefined
    handler?.closed(error)
  }

  protected startTimer(delayMs: number, task: () => void): void {
    this.stopTimer()
    this.#timer = setTimeout(task, delayMs)
  }

  protected stopTimer(): void {
    clearTimeout(this.#timer)
  }

  #writable(): Http2Stream | undefined {
    const stream = this.#stream
    const isOpen = this.state === 'open' || this.state === 'connecting'
    return isOpen && stream !== undefined && !stream.destroyed ? stream : undefined
  }

  #mayGoOn(stream: Http2Stream): boolean {
    if (stream.writableLength <= QUEUE_HIGH_BYTES) return true
    this.#aboveMark = true
    return false
  }

  #deliver(): void {
    try {
      while (!this.#paused && (this.state === 'open' || this.state === 'connecting')) {
        const message = this.#reader.next()
        if (message === undefined) break
        const body = openFrame(message)
        const isUsedUp = isChunk(body[0])
        if (!isUsedUp) this.#reads.keep()
        this.#handler?.frame(body)
        if (isUsedUp) this.#reader.done()
      }
    } catch (error) {
      this.rejected(toCacheError(error))
      return
    }
    if (this.#remoteEnded && !this.#paused) this.remoteEnded()
  }
}
