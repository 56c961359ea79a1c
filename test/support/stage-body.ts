/** The body of a STAGE frame, in one piece as it arrives. */

import { FRAME_HEADROOM, joinFrame } from '../../src/wire/frames.ts'
import { encodeStageHead } from '../../src/wire/peer-frames.ts'

export function stageBody(
  stageId: number,
  totalBytes: number,
  offset: number,
  chunk: Uint8Array,
): Uint8Array {
  return joinFrame(encodeStageHead(stageId, totalBytes, offset, chunk.length), [chunk]).slice(FRAME_HEADROOM)
}
