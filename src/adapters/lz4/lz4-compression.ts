/**
 * LZ4 beside the event loop: packing on a thread of its own, unpacking on those that Node.js keeps for such work.
 *
 * Packing happens while a node serves, and what lz4-napi packs into is memory that the engine of the calling thread counts as its own: 16 MB/s
 * of records made it collect garbage twice a second, and the 99th percentile of reads three times as long
 * (docs/decisions/0018). So the record goes there and back in memory that both threads share, and is used again.
 */

import { existsSync } from 'node:fs'
import { compress, uncompress } from 'lz4-napi'
import type { Compression, Packed } from '../../snapshot/compression.ts'
import { PackThread } from './pack-thread.ts'

const PROGRAM = new URL('./pack-worker.js', import.meta.url)
/** A thread that ended (of too little memory, say) is started again, but not more often than this, in milliseconds. */
const RESTART_MS = 10_000

export class ThreadedCompression implements Compression {
  readonly #program: URL
  readonly #monotonicMs: () => number
  #thread: PackThread | undefined
  #startedMs = Number.NEGATIVE_INFINITY

  /** @param program pack-worker, as JavaScript */
  constructor(program: URL, monotonicMs: () => number = () => performance.now()) {
    this.#program = program
    this.#monotonicMs = monotonicMs
  }

  async pack(raw: Uint8Array): Promise<Packed | undefined> {
    try {
      if (this.#thread === undefined || this.#thread.hasEnded) this.#start()
      const packing = this.#thread?.pack(raw)
      if (packing !== undefined) return await packing
    } catch {
      // The thread could not be started, or ended meanwhile.
    }
    // Without it this is done all the same, at the price above.
    const bytes = await compress(raw)
    return bytes.length < raw.length ? { bytes, release: () => {} } : undefined
  }

  async end(): Promise<void> {
    await this.#thread?.end()
  }

  unpack(packed: Uint8Array): Promise<Uint8Array> {
    return uncompress(packed)
  }

  #start(): void {
    const nowMs = this.#monotonicMs()
    if (nowMs - this.#startedMs < RESTART_MS) return
    this.#startedMs = nowMs
    // It is not there when the sources are run, or a bundle of them.
    if (existsSync(this.#program)) this.#thread = new PackThread(this.#program)
  }
}

export const threadedCompression: Compression = new ThreadedCompression(PROGRAM)
