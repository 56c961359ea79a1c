/** In which order faults come: all of them once in a random order, then again in another. The seed decides. */

import { integerBetween, type Random } from '../../../src/kernel/random.ts'
import type { FaultName } from './catalogue.ts'

export class FaultSchedule {
  readonly #names: readonly FaultName[]
  readonly #random: Random
  #bag: FaultName[] = []

  constructor(names: readonly FaultName[], random: Random) {
    this.#names = names
    this.#random = random
  }

  next(): FaultName {
    if (this.#bag.length === 0) this.#bag = [...this.#names]
    const at = integerBetween(this.#random, 0, this.#bag.length - 1)
    return this.#bag.splice(at, 1)[0] as FaultName
  }
}
