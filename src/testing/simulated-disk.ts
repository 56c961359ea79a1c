/**
 * A disk on virtual time, as the data directory of one node. Writes take a while; what was not synced may be lost when the
 * process crashes: of the batches written since the last sync, a random number of the first survive, each whole or not
 * at all (as in a log whose records carry checksums). A batch whose sync was under way may have made it or not.
 *
 * The disk outlives the processes of its machine. It can be slow, be full, hang, and be exchanged for an empty one.
 */

import type { DurableChange, DurableStore } from '../kernel/durable-store.ts'
import { CacheError } from '../kernel/errors.ts'
import { integerBetween, type Random, uniform } from '../kernel/random.ts'
import type { SimulatedHost } from './simulated-host.ts'

export interface DiskOptions {
  /** How long a synced write takes, in milliseconds, uniform between the two. Default 0.5 and 4. */
  readonly syncMinMs?: number
  readonly syncMaxMs?: number
}

/** Written, not yet on the medium. */
interface Pending {
  readonly changes: readonly DurableChange[]
}

export class SimulatedDisk {
  readonly #host: SimulatedHost
  readonly #random: Random
  readonly #options: Required<DiskOptions>
  #durable = new Map<string, Uint8Array>()
  #pending: Pending[] = []
  /** What a process sees: durable and pending. */
  #visible = new Map<string, Uint8Array>()
  /** Times as long, while the disk is slow. */
  slowness = 1
  /** Writes fail, as on a full disk. */
  full = false
  syncs = 0
  #hangs = false
  /** What was asked of it while it hung. */
  #held: (() => void)[] = []

  constructor(host: SimulatedHost, random: Random, options: DiskOptions = {}) {
    this.#host = host
    this.#random = random
    this.#options = { syncMinMs: 0.5, syncMaxMs: 4, ...options }
  }

  /** The store that the present process opens. A later process opens its own. */
  open(): DurableStore {
    const life = this.#host.life
    const check = (): void => {
      if (life !== this.#host.life) throw new Error('a dead process used its disk')
    }
    return {
      get: (key) => {
        check()
        const value = this.#visible.get(key)
        return this.#later(0.05, () => value?.slice())
      },
      entries: (prefix) => {
        check()
        const found = [...this.#visible]
          .filter(([key]) => key.startsWith(prefix))
          .map(([key, value]) => [key, value.slice()] as const)
          .sort(([a], [b]) => (a < b ? -1 : 1))
        return this.#later(0.05, () => found)
      },
      write: (changes, { sync }) => {
        check()
        return this.#write(changes, sync)
      },
      close: () => Promise.resolve(),
    }
  }

  /**
   * To be called when the process crashes: what had not reached the medium may be gone.
   * @param surviving how many of the unsynced batches are kept; drawn by default
   */
  crash(surviving: number = integerBetween(this.#random, 0, this.#pending.length)): void {
    for (const { changes } of this.#pending.slice(0, surviving)) apply(this.#durable, changes)
    this.#pending = []
    this.#held = []
    this.#visible = new Map(this.#durable)
  }

  get hangs(): boolean {
    return this.#hangs
  }

  /** While it hangs nothing that is asked of it ends. What was asked is done once it goes on, unless the process has ended. */
  set hangs(hangs: boolean) {
    this.#hangs = hangs
    if (!hangs) for (const goOn of this.#held.splice(0)) goOn()
  }

  /** Changes what lies under a key, as a failing medium does. */
  damage(key: string, change: (value: Uint8Array) => Uint8Array): void {
    for (const map of [this.#durable, this.#visible]) {
      const value = map.get(key)
      if (value !== undefined) map.set(key, change(value.slice()))
    }
  }

  /** An empty disk takes its place. */
  wipe(): void {
    this.#durable = new Map()
    this.#pending = []
    this.#visible = new Map()
  }

  /** Batches that a crash may take. */
  get unsynced(): number {
    return this.#pending.length
  }

  /** The keys a process sees, in order. */
  keys(): string[] {
    return [...this.#visible.keys()].sort()
  }

  get isEmpty(): boolean {
    return this.#visible.size === 0
  }

  #write(changes: readonly DurableChange[], sync: boolean): Promise<void> {
    if (this.full) {
      return this.#later(this.#syncMs(), () => {
        throw new CacheError('INTERNAL', 'the disk is full: free some space')
      })
    }
    const copies = changes.map(({ key, value }) => ({ key, value: value?.slice() }))
    const written: Pending = { changes: copies }
    this.#pending.push(written)
    apply(this.#visible, copies)
    if (!sync) return this.#later(0.02, () => {})
    return this.#later(this.#syncMs(), () => {
      this.syncs++
      // Whatever was written before is on the medium too.
      const index = this.#pending.indexOf(written)
      for (const { changes: earlier } of this.#pending.splice(0, index + 1)) apply(this.#durable, earlier)
    })
  }

  #syncMs(): number {
    const { syncMinMs, syncMaxMs } = this.#options
    return (syncMinMs + uniform(this.#random) * (syncMaxMs - syncMinMs)) * this.slowness
  }

  /** Settles on the machine's time; of a crashed process never. The disk works on while the process is paused. */
  #later<T>(delayMs: number, result: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const goOn = (): void =>
        this.#host.fromDevice(delayMs, () => {
          try {
            const value = result()
            return () => resolve(value)
          } catch (error) {
            return () => reject(error as Error)
          }
        })
      if (this.#hangs) this.#held.push(goOn)
      else goOn()
    })
  }
}

function apply(map: Map<string, Uint8Array>, changes: readonly DurableChange[]): void {
  for (const { key, value } of changes) {
    if (value === undefined) map.delete(key)
    else map.set(key, value)
  }
}
