/**
 * What the process holds, by purpose, against one limit. What is kept in large amounts (segments and columns, the backlog)
 * reports here exactly and at once; everything else in the process (the JavaScript heap, buffers of connections, frames
 * under way) is observed from outside now and then and counts as `rest`. Two watermarks say when to act:
 *
 * - `high` (default 0.85 of the limit): evict and compact until below.
 * - `full` (the limit): refuse what would add bytes.
 *
 * Garbage that was not collected yet looks like memory in use. So of the last OBSERVATIONS observations the smallest counts:
 * a burst of garbage evicts nothing, memory that stays in use does.
 */

export const MEMORY_PURPOSES = ['engine', 'backlog', 'rest'] as const
export type MemoryPurpose = (typeof MEMORY_PURPOSES)[number]

const OBSERVATIONS = 16

export class MemoryAccount {
  readonly limitBytes: number
  readonly highBytes: number
  #total = 0
  readonly #held: Record<MemoryPurpose, number> = { engine: 0, backlog: 0, rest: 0 }
  readonly #observed: number[] = []

  constructor(limitBytes: number, highShare = 0.85) {
    this.limitBytes = limitBytes
    this.highBytes = Math.floor(limitBytes * highShare)
  }

  /** Adds `bytes` (negative to give back). */
  add(purpose: MemoryPurpose, bytes: number): void {
    this.#held[purpose] += bytes
    this.#total += bytes
  }

  /** The process as a whole holds `processBytes` now: what is not reported otherwise becomes `rest`. */
  observe(processBytes: number): void {
    const rest = Math.max(0, processBytes - this.#held.engine - this.#held.backlog)
    this.#observed.push(rest)
    if (this.#observed.length > OBSERVATIONS) this.#observed.shift()
    this.add('rest', Math.min(...this.#observed) - this.#held.rest)
  }

  held(purpose: MemoryPurpose): number {
    return this.#held[purpose]
  }

  get totalBytes(): number {
    return this.#total
  }

  get level(): 'normal' | 'high' | 'full' {
    if (this.#total >= this.limitBytes) return 'full'
    return this.#total >= this.highBytes ? 'high' : 'normal'
  }
}
