/**
 * Large values on their way to a client, in chunks that take turns, as fast as its stream drains. A value is pinned until its
 * last chunk is handed over, so overwriting or removing the entry does not disturb it. Bounded: DOWNLOADS_MAX per stream.
 */

import type { LargeValue } from '../engine/engine.ts'
import { CacheError } from '../kernel/errors.ts'
import { DOWNLOAD_CHUNK_BYTES, FRAME_HEADROOM, FrameType, sealFrame } from '../wire/frames.ts'
import type { FrameStream } from '../wire/transport.ts'

const DOWNLOADS_MAX = 64

interface Download {
  readonly requestId: number
  readonly value: LargeValue
  offset: number
}

export class Downloads {
  readonly #stream: FrameStream
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
      const drained = this.#stream.send(chunkFrame(download, bytes))
      download.offset += bytes
      if (download.offset < value.totalBytes) this.#active.push(download)
      else value.release()
      this.#isFull = !drained
    }
  }

  close(): void {
    for (const one of this.#active.splice(0)) one.value.release()
  }
}

function chunkFrame(download: Download, bytes: number): Uint8Array {
  const { requestId, value } = download
  const start = FRAME_HEADROOM + 5
  const message = new Uint8Array(start + bytes)
  message[FRAME_HEADROOM] = FrameType.value
  new DataView(message.buffer).setUint32(FRAME_HEADROOM + 1, requestId, true)
  for (let done = 0; done < bytes; ) {
    const piece = Math.min(bytes - done, value.contiguousBytes(download.offset + done))
    message.set(value.view(download.offset + done, piece), start + done)
    done += piece
  }
  sealFrame(message)
  return message
}
