/**
 * Large values on their way to a client, in chunks that take turns, as fast as its stream drains. They are sent from where
 * they lie, without being copied: a value is pinned until the socket has taken its last chunk, so overwriting or removing the
 * entry does not disturb it. Bounded: DOWNLOADS_MAX per stream, and of each stream what its buffer holds.
 */

import type { LargeValue } from '../engine/engine.ts'
import { ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import { beginFrame, DOWNLOAD_CHUNK_BYTES, FrameType, finishFrame } from '../wire/frames.ts'
import type { FrameStream } from '../wire/transport.ts'

const DOWNLOADS_MAX = 64
const HEAD_BYTES = 32

interface Download {
  readonly requestId: number
  readonly value: LargeValue
  offset: number
}

export class Downloads {
  readonly #stream: FrameStream
  readonly #writer = new ByteWriter(HEAD_BYTES)
  readonly #active: Download[] = []
  /** The stream's buffer is full: until it drains, nothing more is put into it. */
  #isFull = false

  constructor(stream: FrameStream) {
    this.#stream = stream
  }

  get count(): number {
    return this.#active.length
  }

  /** @throws CacheError OVERLOADED */
  start(requestId: number, value: LargeValue): void {
    if (this.#active.length >= DOWNLOADS_MAX) {
      throw new CacheError(
        'OVERLOADED',
        `${DOWNLOADS_MAX} large values are being read on this stream: try again`,
      )
    }
    this.#active.push({ requestId, value: value.retain(), offset: 0 })
  }

  cancel(requestId: number): void {
    const at = this.#active.findIndex((one) => one.requestId === requestId)
    if (at >= 0) for (const one of this.#active.splice(at, 1)) one.value.release()
  }

  drained(): void {
    this.#isFull = false
    this.pump()
  }

  /** Sends chunks until the stream's buffer is full. */
  pump(): void {
    while (!this.#isFull) {
      const download = this.#active.shift()
      if (download === undefined) return
      const { value } = download
      const bytes = Math.min(DOWNLOAD_CHUNK_BYTES, value.totalBytes - download.offset)
      const views = value.views(download.offset, bytes)
      const head = this.#head(download.requestId, bytes)
      download.offset += bytes
      if (download.offset < value.totalBytes) {
        value.retain()
        this.#active.push(download)
      }
      this.#isFull = !this.#stream.sendParts(head, views, () => value.release())
    }
  }

  close(): void {
    for (const one of this.#active.splice(0)) one.value.release()
  }

  #head(requestId: number, bytes: number): Uint8Array {
    const w = this.#writer
    beginFrame(w, FrameType.value)
    w.uint32(requestId)
    return finishFrame(w, bytes)
  }
}
