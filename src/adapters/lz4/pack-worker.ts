/** What runs on the thread that packs records (pack-thread.ts). */

import { parentPort } from 'node:worker_threads'
import { compressSync } from 'lz4-napi'
import type { PackJob, PackResult } from './pack-thread.ts'

parentPort?.on('message', ({ id, slot, rawBytes }: PackJob) => {
  const packed = compressSync(Buffer.from(slot, 0, rawBytes))
  const isSmaller = packed.length < rawBytes
  if (isSmaller) new Uint8Array(slot).set(packed)
  parentPort?.postMessage({ id, packedBytes: isSmaller ? packed.length : 0 } satisfies PackResult)
})
