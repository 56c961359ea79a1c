/**
 * Fixed-size blocks carved from larger buffers (slabs), for the values that are too large for the record log.
 *
 * Blocks are taken from the first slab that has one free, so that the later slabs drain and go back to where they came
 * from. A pool is a source of buffers itself: 8 KiB blocks are carved from 64 KiB blocks, those from segments.
 */

export interface Buffered {
  readonly bytes: Uint8Array
}

/** Where slabs come from. `take` gives undefined when there is no memory. */
export interface BufferSource<B extends Buffered> {
  take(): B | undefined
  give(buffer: B): void
}

interface Slab<B extends Buffered> {
  readonly buffer: B
  readonly free: Block<B>[]
  /** Place in the pool's list. */
  at: number
}

export interface Block<B extends Buffered> extends Buffered {
  readonly slab: Slab<B>
}

export class BlockPool<B extends Buffered> implements BufferSource<Block<B>> {
  readonly blockBytes: number
  readonly #source: BufferSource<B>
  readonly #slabs: Slab<B>[] = []
  /** No slab before this one has a free block. */
  #firstFree = 0
  #inUse = 0

  constructor(source: BufferSource<B>, blockBytes: number) {
    this.#source = source
    this.blockBytes = blockBytes
  }

  get inUseCount(): number {
    return this.#inUse
  }

  take(): Block<B> | undefined {
    while (this.#firstFree < this.#slabs.length && this.#slabs[this.#firstFree]?.free.length === 0)
      this.#firstFree++
    const slab = this.#slabs[this.#firstFree] ?? this.#addSlab()
    const block = slab?.free.pop()
    if (block !== undefined) this.#inUse++
    return block
  }

  give(block: Block<B>): void {
    const { slab } = block
    slab.free.push(block)
    this.#inUse--
    if (slab.free.length * this.blockBytes === slab.buffer.bytes.length) this.#dropSlab(slab)
    else if (slab.at < this.#firstFree) this.#firstFree = slab.at
  }

  #addSlab(): Slab<B> | undefined {
    const buffer = this.#source.take()
    if (buffer === undefined) return undefined
    const slab: Slab<B> = { buffer, free: [], at: this.#slabs.length }
    for (let start = buffer.bytes.length - this.blockBytes; start >= 0; start -= this.blockBytes) {
      slab.free.push({ bytes: buffer.bytes.subarray(start, start + this.blockBytes), slab })
    }
    this.#slabs.push(slab)
    return slab
  }

  #dropSlab(slab: Slab<B>): void {
    const last = this.#slabs.pop() as Slab<B>
    if (last !== slab) {
      last.at = slab.at
      this.#slabs[slab.at] = last
      this.#firstFree = Math.min(this.#firstFree, slab.at)
    }
    this.#source.give(slab.buffer)
  }
}
