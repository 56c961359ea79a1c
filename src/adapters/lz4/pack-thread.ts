/**
 * A thread that packs records. It starts with the first and does not keep the process alive.
 *
 * A record is copied into memory that both threads share, a slot, and what it was packed into comes back in the same slot. Slots are used again
 * once they are released; SLOTS_SPARE_MAX are kept.
 */

import { Worker } from 'node:worker_threads'
import type { Packed } from '../../snapshot/compression.ts'

/** To the thread. */
export interface PackJob {
  readonly id: number
  readonly slot: SharedArrayBuffer
  readonly rawBytes: number
}

/** From it. */
export interface PackResult {
  readonly id: number
  /** Bytes in the slot; 0: packed it would not be smaller. */
  readonly packedBytes: number
}

/** Records are hardly ever larger. */
const SLOT_BYTES = 512 * 1024
/** What a record pipe has under way at most, and some more. */
const SLOTS_SPARE_MAX = 24

interface Waiting {
  readonly slot: SharedArrayBuffer
  resolve(packed: Packed | undefined): void
  reject(error: Error): void
}

export class PackThread {
  readonly #worker: Worker
  readonly #spare: SharedArrayBuffer[] = []
  readonly #waiting = new Map<number, Waiting>()
  #nextId = 0
  #failure: Error | undefined

  /** @param program pack-worker, as JavaScript */
  constructor(program: URL) {
    // Not the options of this process: some forbid a thread (--input-type), others would load there what is meant for here.
    this.#worker = new Worker(program, { execArgv: [] })
    this.#worker.unref()
    this.#worker.on('message', (result: PackResult) => this.#done(result))
    this.#worker.on('error', (error) => this.#failed(error))
    this.#worker.on('exit', () => this.#failed(new Error('the thread that packs snapshots has ended')))
  }

  get hasEnded(): boolean {
    return this.#failure !== undefined
  }

  /** `raw` is copied at once. @returns undefined when the thread is gone; a promise that rejects when it goes meanwhile */
  pack(raw: Uint8Array): Promise<Packed | undefined> | undefined {
    if (this.#failure !== undefined) return undefined
    const slot =
      (raw.length <= SLOT_BYTES ? this.#spare.pop() : undefined) ??
      new SharedArrayBuffer(Math.max(raw.length, SLOT_BYTES))
    new Uint8Array(slot).set(raw)
    const id = this.#nextId++
    const packing = new Promise<Packed | undefined>((resolve, reject) => {
      this.#waiting.set(id, { slot, resolve, reject })
    })
    // A process with nothing else to do would end before the answer.
    this.#worker.ref()
    this.#worker.postMessage({ id, slot, rawBytes: raw.length } satisfies PackJob)
    return packing
  }

  /** Who waits is told so. */
  async end(): Promise<void> {
    await this.#worker.terminate()
  }

  #done({ id, packedBytes }: PackResult): void {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return
    this.#waiting.delete(id)
    if (this.#waiting.size === 0) this.#worker.unref()
    const { slot, resolve } = waiting
    const release = (): void => {
      if (slot.byteLength === SLOT_BYTES && this.#spare.length < SLOTS_SPARE_MAX) this.#spare.push(slot)
    }
    if (packedBytes > 0) {
      resolve({ bytes: new Uint8Array(slot, 0, packedBytes), release })
      return
    }
    release()
    resolve(undefined)
  }

  #failed(error: Error): void {
    this.#failure ??= error
    for (const { reject } of this.#waiting.values()) reject(this.#failure)
    this.#waiting.clear()
    this.#spare.length = 0
  }
}
