/**
 * Values too large for a record: a chain of pooled blocks, 64 KiB each, whose rest lies in 8 KiB blocks so that little
 * is wasted. All blocks are taken when the value is begun: a value that does not fit is refused before its first byte.
 *
 * A value is counted by reference: its maker has one, each entry that holds it one, each reader that pins it one. The
 * blocks go back when the last is released, so a download goes on while the entry is overwritten or removed.
 */

import type { ByteWriter } from '../kernel/bytes.ts'
import { type Block, BlockPool } from './block-pool.ts'
import { invariant } from './invariant.ts'
import { memoryFull, type Segment, type SegmentPool } from './segment-pool.ts'

/** Values above this many bytes are stored as large ones. */
export const INLINE_VALUE_BYTES_MAX: number = 64 * 1024

const BLOCK_SHIFT = 16
const BLOCK_BYTES = 1 << BLOCK_SHIFT
const TAIL_SHIFT = 13
const TAIL_BYTES = 1 << TAIL_SHIFT

type FullBlock = Block<Segment>
type TailBlock = Block<FullBlock>

/** The blocks of all large values of a node. */
export class LargeValues {
  readonly #pool: SegmentPool
  readonly #full: BlockPool<Segment>
  readonly #tails: BlockPool<FullBlock>
  #heldBytes = 0

  constructor(pool: SegmentPool) {
    this.#pool = pool
    const source = { take: () => pool.take(), give: (segment: Segment) => pool.giveTurnover(segment) }
    this.#full = new BlockPool(source, BLOCK_BYTES)
    this.#tails = new BlockPool(this.#full, TAIL_BYTES)
  }

  /** Bytes of blocks that values hold. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  /** @throws CacheError OVERLOADED when there is no memory for that many bytes; nothing is held then. */
  create(totalBytes: number): LargeValue {
    const full: FullBlock[] = []
    const tail: TailBlock[] = []
    const value = new LargeValue(totalBytes, full, tail, () => this.#free(full, tail))
    let rest = totalBytes
    // A tail of more than seven eighths is a whole block.
    while (rest > BLOCK_BYTES - TAIL_BYTES) {
      const block = this.#full.take()
      if (block === undefined) throw this.#refuse(full, tail)
      full.push(block)
      rest -= BLOCK_BYTES
    }
    while (rest > 0) {
      const block = this.#tails.take()
      if (block === undefined) throw this.#refuse(full, tail)
      tail.push(block)
      rest -= TAIL_BYTES
    }
    this.#heldBytes += full.length * BLOCK_BYTES + tail.length * TAIL_BYTES
    return value
  }

  #refuse(full: FullBlock[], tail: TailBlock[]): Error {
    this.#heldBytes += full.length * BLOCK_BYTES + tail.length * TAIL_BYTES
    this.#free(full, tail)
    return memoryFull(this.#pool.memory)
  }

  #free(full: FullBlock[], tail: TailBlock[]): void {
    this.#heldBytes -= full.length * BLOCK_BYTES + tail.length * TAIL_BYTES
    for (const block of full) this.#full.give(block)
    for (const block of tail) this.#tails.give(block)
    full.length = 0
    tail.length = 0
  }
}

export class LargeValue {
  readonly totalBytes: number
  /** Bytes of memory it takes, the unused end of its last block included. */
  readonly heldBytes: number
  readonly #full: readonly FullBlock[]
  readonly #tail: readonly TailBlock[]
  readonly #free: () => void
  #length = 0
  #references = 1

  constructor(totalBytes: number, full: readonly FullBlock[], tail: readonly TailBlock[], free: () => void) {
    this.totalBytes = totalBytes
    const rest = totalBytes & (BLOCK_BYTES - 1)
    this.heldBytes = totalBytes - rest + ((rest + TAIL_BYTES - 1) & ~(TAIL_BYTES - 1))
    this.#full = full
    this.#tail = tail
    this.#free = free
  }

  /** Bytes appended so far. */
  get length(): number {
    return this.#length
  }

  get complete(): boolean {
    return this.#length === this.totalBytes
  }

  /** Adds `bytes[start..end)`, in order; not beyond `totalBytes`. */
  append(bytes: Uint8Array, start = 0, end: number = bytes.length): void {
    invariant(this.#references > 0, 'append to a released large value')
    invariant(this.#length + end - start <= this.totalBytes, 'append beyond the end of a large value')
    for (let at = start; at < end; ) {
      const count = Math.min(end - at, this.contiguousBytes(this.#length))
      this.#place(this.#length, count).set(bytes.subarray(at, at + count))
      this.#length += count
      at += count
    }
  }

  /** One more reference, to be given back by `release`. */
  retain(): this {
    invariant(this.#references > 0, 'retain of a released large value')
    this.#references++
    return this
  }

  release(): void {
    invariant(this.#references > 0, 'a large value released too often')
    if (--this.#references === 0) this.#free()
  }

  /** Gives up the maker's reference to a value that will not be stored. */
  discard(): void {
    this.release()
  }

  /** How many bytes from `offset` on lie in one piece, 0 at the end. */
  contiguousBytes(offset: number): number {
    const block = offset >>> BLOCK_SHIFT < this.#full.length ? BLOCK_BYTES : TAIL_BYTES
    return Math.min(this.totalBytes - offset, block - (offset & (block - 1)))
  }

  /**
   * The bytes [offset, offset + count) of what was appended: a view where they lie in one piece, else a copy. A view
   * holds good as long as a reference is held.
   */
  view(offset: number, count: number): Uint8Array {
    invariant(this.#references > 0, 'view of a released large value')
    invariant(
      offset >= 0 && count >= 0 && offset + count <= this.#length,
      'view beyond the end of a large value',
    )
    if (count <= this.contiguousBytes(offset)) return this.#place(offset, count)
    const copy = new Uint8Array(count)
    for (let done = 0; done < count; ) {
      const piece = Math.min(count - done, this.contiguousBytes(offset + done))
      copy.set(this.#place(offset + done, piece), done)
      done += piece
    }
    return copy
  }

  /** The bytes [offset, offset + count) of what was appended, as views that hold good as long as a reference is held. */
  views(offset: number, count: number): Uint8Array[] {
    const views: Uint8Array[] = []
    for (let done = 0; done < count; ) {
      const piece = Math.min(count - done, this.contiguousBytes(offset + done))
      views.push(this.view(offset + done, piece))
      done += piece
    }
    return views
  }

  /** Appends the bytes [offset, offset + count) to `writer`. */
  copy(writer: ByteWriter, offset = 0, count: number = this.#length - offset): void {
    invariant(
      offset >= 0 && count >= 0 && offset + count <= this.#length,
      'copy beyond the end of a large value',
    )
    writer.reserve(count)
    for (let done = 0; done < count; ) {
      const piece = Math.min(count - done, this.contiguousBytes(offset + done))
      writer.raw(this.#place(offset + done, piece))
      done += piece
    }
  }

  equals(bytes: Uint8Array, start: number, end: number): boolean {
    if (end - start !== this.#length) return false
    for (let offset = 0; offset < this.#length; ) {
      const piece = this.#place(offset, this.contiguousBytes(offset))
      for (let i = 0; i < piece.length; i++) if (piece[i] !== bytes[start + offset + i]) return false
      offset += piece.length
    }
    return true
  }

  #place(offset: number, count: number): Uint8Array {
    if (count === 0) return new Uint8Array(0)
    const index = offset >>> BLOCK_SHIFT
    const inTail = offset - (this.#full.length << BLOCK_SHIFT)
    const block = index < this.#full.length ? this.#full[index] : this.#tail[inTail >>> TAIL_SHIFT]
    invariant(block !== undefined, 'use of a released large value')
    const at = offset & (block.bytes.length - 1)
    return block.bytes.subarray(at, at + count)
  }
}
