import type { EntryIndex, EntryTable } from '../entry-table.ts'
import { EntryList } from './entry-list.ts'
import type { EvictionPolicy } from './policy.ts'

/**
 * First in, first out, by the last write: a new value takes a new place. (Versions tell the order of writes, so that a
 * new primary evicts in the order the old one did.)
 */
export class FifoPolicy implements EvictionPolicy {
  readonly #list: EntryList

  constructor(table: EntryTable) {
    this.#list = new EntryList(table)
  }

  inserted(e: EntryIndex): void {
    this.#list.append(e)
  }

  touched(): void {}

  removed(e: EntryIndex): void {
    this.#list.remove(e)
  }

  victim(): EntryIndex {
    return this.#list.first
  }
}
