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

let thread: PackThread | undefined

export const threadedCompression: Compression = {
  pack: (raw) => packBeside(raw),
  unpack: (packed) => uncompress(packed),
}

async function packBeside(raw: Uint8Array): Promise<Packed | undefined> {
  // It is not there when the sources are run, or a bundle of them.
  if (thread === undefined && existsSync(PROGRAM)) thread = new PackThread(PROGRAM)
  const packing = thread?.pack(raw)
  if (packing !== undefined) return packing
  // Without the thread it is done all the same, at the price above.
  const bytes = await compress(raw)
  return bytes.length < raw.length ? { bytes, release: () => {} } : undefined
}
