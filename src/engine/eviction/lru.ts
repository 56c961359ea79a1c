import type { EntryIndex, EntryTable } from '../entry-table.ts'
import { EntryList } from './entry-list.ts'
import type { EvictionPolicy } from './policy.ts'

/** Least recently used: what was neither written nor read for longest goes first. Exact. */
export class LruPolicy implements EvictionPolicy {
  readonly #list: EntryList

  constructor(table: EntryTable) {
    this.#list = new EntryList(table)
  }

  inserted(e: EntryIndex): void {
    this.#list.append(e)
  }

  touched(e: EntryIndex): void {
    if (this.#list.last === e) return
    this.#list.remove(e)
    this.#list.append(e)
  }

  removed(e: EntryIndex): void {
    this.#list.remove(e)
  }

  victim(): EntryIndex {
    return this.#list.first
  }
}
