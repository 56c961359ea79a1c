/**
 * The near end of a stream whose other end is the test itself: what a session sends is kept, what it is to receive the test
 * hands over. No time passes and nothing is delivered behind the test's back.
 */

import { ByteReader } from '../../src/kernel/bytes.ts'
import type { CacheError } from '../../src/kernel/errors.ts'
import { FrameType, joinFrame, openFrame } from '../../src/wire/frames.ts'
import { decodeError } from '../../src/wire/handshake.ts'
import type { FrameHandler, FrameStream } from '../../src/wire/transport.ts'

export class DirectStream implements FrameStream {
  /** Whoever the stream belongs to; set by the test once it knows. */
  handler: FrameHandler | undefined
  /** Frames' bodies that were sent and not looked at, the newest last. */
  sent: Uint8Array[] = []
  sentBytes = 0
  /** Keep only what matters to a fuzzer: ERROR frames. */
  readonly #onlyErrors: boolean
  /** While set, nothing drains: the other side does not read. */
  stuck = false
  /** Above this many queued bytes `send` returns false. */
  readonly markBytes: number
  queuedBytes = 0
  paused = false
  closed = false
  /** The ERROR frame it was ended with. */
  error: CacheError | undefined

  constructor(options: { readonly onlyErrors?: boolean; readonly markBytes?: number } = {}) {
    this.#onlyErrors = options.onlyErrors ?? false
    this.markBytes = options.markBytes ?? 1024 * 1024
  }

  send(message: Uint8Array): boolean {
    if (this.closed) return true
    const body = openFrame(message)
    this.sentBytes += body.length
    if (body[0] === FrameType.error) this.error = decodeError(new ByteReader(body, 1))
    if (!this.#onlyErrors) this.sent.push(body)
    if (!this.stuck) return true
    this.queuedBytes += message.length
    return this.queuedBytes <= this.markBytes
  }

  sendParts(head: Uint8Array, parts: readonly Uint8Array[], sent?: () => void): boolean {
    const mayGoOn = this.send(joinFrame(head, parts))
    sent?.()
    return mayGoOn
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
  }

  close(): void {
    this.closed = true
  }

  /** The other side reads everything. */
  drain(): void {
    this.queuedBytes = 0
    this.handler?.drained()
  }

  /** The other side hangs up. */
  hangUp(): void {
    this.closed = true
    this.handler?.closed(undefined)
  }

  /** Takes what was sent so far. */
  take(): Uint8Array[] {
    const { sent } = this
    this.sent = []
    return sent
  }
}
