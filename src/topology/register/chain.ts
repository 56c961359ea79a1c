/**
 * The committed topology and how it came about: each epoch follows from the one before by a decided list of transforms. Every node
 * applies the lists to its own copy; the hash that travels with a list shows that all come to the same record.
 *
 * The last few values are kept, so that a node that missed some gets those; one that missed more gets the whole record.
 */

import { RecordEncoder } from '../record-encoder.ts'
import type { Topology } from '../topology.ts'
import { recordHash } from './record-hash.ts'
import { applyValue, type DecidedValue, decodeValue } from './value.ts'

export interface LearnedValue {
  readonly slot: number
  readonly value: Uint8Array
}

/**
 * - `learned`: it is the next epoch.
 * - `known`: it was.
 * - `gap`: epochs before it are missing.
 * - `contradiction`: applying it gives another record here than at its proposer.
 */
export type Learning = 'learned' | 'known' | 'gap' | 'contradiction'

const VALUES_KEPT = 256
const VALUE_BYTES_KEPT = 1024 * 1024

export class Chain {
  readonly #encoder = new RecordEncoder('node')
  #topology: Topology | undefined
  #encoded: Uint8Array = new Uint8Array(0)
  #hash = ''
  #values: LearnedValue[] = []
  #valueBytes = 0
  /** The last decided value, decoded. */
  #last: DecidedValue | undefined

  get topology(): Topology | undefined {
    return this.#topology
  }

  /** 0: none is known. */
  get epoch(): number {
    return this.#topology?.epoch ?? 0
  }

  /** The record as nodes hold it. */
  get encoded(): Uint8Array {
    return this.#encoded
  }

  get hash(): string {
    return this.#hash
  }

  get last(): DecidedValue | undefined {
    return this.#last
  }

  /** A record that follows from what is known, as nodes hold it. */
  encode(topology: Topology): Uint8Array {
    return this.#encoder.encode(topology)
  }

  /** @throws CacheError PROTOCOL_ERROR when the value is none. */
  learn(slot: number, bytes: Uint8Array): Learning {
    const topology = this.#topology
    if (topology === undefined || slot > this.epoch + 1) return 'gap'
    if (slot <= this.epoch) return 'known'
    const value = decodeValue(bytes)
    const next = applyValue(topology, value)
    const encoded = this.encode(next)
    const hash = recordHash(encoded)
    if (next.epoch !== slot || hash !== value.hash) return 'contradiction'
    this.#set(next, encoded, hash)
    this.#last = value
    this.#values.push({ slot, value: bytes })
    this.#valueBytes += bytes.length
    while (this.#values.length > VALUES_KEPT || this.#valueBytes > VALUE_BYTES_KEPT)
      this.#valueBytes -= this.#values.shift()?.value.length ?? 0
    return 'learned'
  }

  /** A whole record takes the place of what is known. @returns false when it is no newer. */
  replace(topology: Topology): boolean {
    if (topology.epoch <= this.epoch) return false
    const encoded = this.encode(topology)
    this.#set(topology, encoded, recordHash(encoded))
    this.#values = []
    this.#valueBytes = 0
    this.#last = undefined
    return true
  }

  /** The values that lead from `epoch` to what is known; undefined when they are no longer kept. */
  since(epoch: number): readonly LearnedValue[] | undefined {
    if (epoch >= this.epoch) return []
    const first = this.#values.findIndex((one) => one.slot === epoch + 1)
    return first < 0 ? undefined : this.#values.slice(first)
  }

  #set(topology: Topology, encoded: Uint8Array, hash: string): void {
    this.#topology = topology
    this.#encoded = encoded
    this.#hash = hash
  }
}
