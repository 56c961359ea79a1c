import { DIGEST_BUCKETS } from './digest.ts'
import type { Directory } from './key-index.ts'

/** Told of every change to a partition, in the middle of it: it may note the hash and do nothing else. */
export interface PartitionWatcher {
  /** An entry whose key has this hash was stored, changed or removed. */
  changed(hash: number): void
}

/** This node's replica of one partition: its index, digest and size. */
export class Partition {
  /** The cluster-wide number. */
  readonly number: number
  /** Place in the engine's list; stored with each record. */
  readonly slot: number
  readonly directory: Directory
  readonly digest: Uint32Array = new Uint32Array(DIGEST_BUCKETS * 2)
  /** Whether its entries are in eviction lists, timing wheel and budgets. */
  primary = false
  entries = 0
  bytes = 0
  /** Undefined: none. */
  watchers: readonly PartitionWatcher[] | undefined = undefined

  constructor(number: number, slot: number, directory: Directory) {
    this.number = number
    this.slot = slot
    this.directory = directory
  }
}
