/**
 * Large values on their way to this node's replicas: bytes that arrived before the operation that will use them was
 * ordered, so that a large value never holds up its partition's log.
 *
 * Bounded: at most `bytesMax` over all senders; a stage beyond that is refused, and its sender's replica lags until there is
 * room. A sender's stages are dropped with its bulk stream.
 */

import { type Engine, INLINE_VALUE_BYTES_MAX, type LargeValue } from '../engine/engine.ts'
import { CacheError } from '../kernel/errors.ts'
import type { NodeIndex } from '../topology/topology.ts'
import type { StageChunk } from '../wire/peer-frames.ts'

interface Stage {
  readonly value: LargeValue
  readonly totalBytes: number
  receivedBytes: number
}

export type ChunkResult = 'more' | 'whole' | 'refused'

export class StageInbox {
  readonly #engine: Engine
  readonly #bytesMax: number
  readonly #valueBytesMax: number
  readonly #senders = new Map<NodeIndex, Map<number, Stage>>()
  #heldBytes = 0

  constructor(engine: Engine, bytesMax: number, valueBytesMax: number) {
    this.#engine = engine
    this.#bytesMax = bytesMax
    this.#valueBytesMax = valueBytesMax
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  /** @throws CacheError PROTOCOL_ERROR when chunks don't follow each other. */
  chunk(node: NodeIndex, chunk: StageChunk, body: Uint8Array): ChunkResult {
    let stages = this.#senders.get(node)
    if (stages === undefined) {
      stages = new Map()
      this.#senders.set(node, stages)
    }
    if (chunk.offset === 0) {
      this.drop(node, chunk.stageId)
      if (chunk.totalBytes <= INLINE_VALUE_BYTES_MAX) {
        throw new CacheError(
          'PROTOCOL_ERROR',
          `a stage of ${chunk.totalBytes} bytes, which is no large value`,
        )
      }
      if (chunk.totalBytes > this.#valueBytesMax || this.#heldBytes + chunk.totalBytes > this.#bytesMax)
        return 'refused'
      const value = this.#allocate(chunk.totalBytes)
      if (value === undefined) return 'refused'
      stages.set(chunk.stageId, { value, totalBytes: chunk.totalBytes, receivedBytes: 0 })
      this.#heldBytes += chunk.totalBytes
    }
    const stage = stages.get(chunk.stageId)
    // The rest of a stage that was refused.
    if (stage === undefined) return 'more'
    const bytes = chunk.end - chunk.start
    if (chunk.offset !== stage.receivedBytes || stage.receivedBytes + bytes > stage.totalBytes) {
      throw new CacheError(
        'PROTOCOL_ERROR',
        `a chunk at ${chunk.offset} of a stage that stands at ${stage.receivedBytes}`,
      )
    }
    stage.value.append(body, chunk.start, chunk.end)
    stage.receivedBytes += bytes
    return stage.receivedBytes === stage.totalBytes ? 'whole' : 'more'
  }

  has(node: NodeIndex, stageId: number): boolean {
    return this.peek(node, stageId) !== undefined
  }

  /** The value, when it is whole. */
  peek(node: NodeIndex, stageId: number): LargeValue | undefined {
    const stage = this.#senders.get(node)?.get(stageId)
    return stage !== undefined && stage.receivedBytes === stage.totalBytes ? stage.value : undefined
  }

  /** The value has become an entry's: forget it here. */
  take(node: NodeIndex, stageId: number): void {
    const stage = this.#senders.get(node)?.get(stageId)
    if (stage === undefined) return
    this.#senders.get(node)?.delete(stageId)
    this.#heldBytes -= stage.totalBytes
    stage.value.release()
  }

  drop(node: NodeIndex, stageId: number): void {
    this.take(node, stageId)
  }

  /** The sender's stream has ended: it takes nothing for granted any more and sends anew what is still needed. */
  dropSender(node: NodeIndex): void {
    for (const stageId of [...(this.#senders.get(node)?.keys() ?? [])]) this.drop(node, stageId)
    this.#senders.delete(node)
  }

  #allocate(totalBytes: number): LargeValue | undefined {
    try {
      return this.#engine.newLargeValue(totalBytes)
    } catch (error) {
      if (error instanceof CacheError && error.code === 'OVERLOADED') return undefined
      throw error
    }
  }
}
