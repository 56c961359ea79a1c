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

export class ThreadedCompression implements Compression {
  readonly #program: URL
  #thread: PackThread | undefined

  /** @param program pack-worker, as JavaScript */
  constructor(program: URL) {
    this.#program = program
  }

  async pack(raw: Uint8Array): Promise<Packed | undefined> {
    try {
      // It is not there when the sources are run, or a bundle of them.
      if (this.#thread === undefined && existsSync(this.#program))
        this.#thread = new PackThread(this.#program)
      const packing = this.#thread?.pack(raw)
      if (packing !== undefined) return await packing
    } catch {
      // The thread could not be started, or ended meanwhile.
    }
    // Without it this is done all the same, at the price above.
    const bytes = await compress(raw)
    return bytes.length < raw.length ? { bytes, release: () => {} } : undefined
  }

  unpack(packed: Uint8Array): Promise<Uint8Array> {
    return uncompress(packed)
  }
}

export const threadedCompression: Compression = new ThreadedCompression(PROGRAM)
