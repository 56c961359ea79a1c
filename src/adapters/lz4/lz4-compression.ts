/** LZ4 on the threads that Node.js keeps for such work, so that the event loop goes on meanwhile. */

import { compress, uncompress } from 'lz4-napi'
import type { Compression } from '../../snapshot/compression.ts'

export const threadedCompression: Compression = {
  pack: (raw) => compress(raw),
  unpack: (packed) => uncompress(packed),
}
