/**
 * What the process holds, by purpose, against one limit. Everything that keeps bytes for longer than a turn (segments,
 * columns, backlog, session buffers) reports here; two watermarks say when to act:
 *
 * - `high` (default 0.85 of the limit): evict and compact until below.
 * - `full` (the limit): refuse what would add bytes.
 */

export const MEMORY_PURPOSES = ['engine', 'backlog', 'sessions', 'peers', 'staging'] as const
export type MemoryPurpose = (typeof MEMORY_PURPOSES)[number]

export class MemoryAccount {
  readonly limitBytes: number
  readonly highBytes: number
  #total = 0
  readonly #held: Record<MemoryPurpose, number> = { engine: 0, backlog: 0, sessions: 0, peers: 0, staging: 0 }

  constructor(limitBytes: number, highShare = 0.85) {
    this.limitBytes = limitBytes
    this.highBytes = Math.floor(limitBytes * highShare)
  }

  /** Adds `bytes` (negative to give back). */
  add(purpose: MemoryPurpose, bytes: number): void {
    this.#held[purpose] += bytes
    this.#total += bytes
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
