/** A doubly linked list of entries through the table's link columns. An entry is in one list at most. */

import { type EntryIndex, type EntryTable, NIL } from '../entry-table.ts'

export class EntryList {
  readonly #table: EntryTable
  #first: EntryIndex = NIL
  #last: EntryIndex = NIL

  constructor(table: EntryTable) {
    this.#table = table
  }

  get first(): EntryIndex {
    return this.#first
  }

  get last(): EntryIndex {
    return this.#last
  }

  append(e: EntryIndex): void {
    this.#table.setPrevious(e, this.#last)
    this.#table.setNext(e, NIL)
    if (this.#last === NIL) this.#first = e
    else this.#table.setNext(this.#last, e)
    this.#last = e
  }

  remove(e: EntryIndex): void {
    const previous = this.#table.previous(e)
    const next = this.#table.next(e)
    if (previous === NIL) this.#first = next
    else this.#table.setNext(previous, next)
    if (next === NIL) this.#last = previous
    else this.#table.setPrevious(next, previous)
  }
}
