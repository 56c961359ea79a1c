/**
 * The topology that was heard last, decoded. Every node tells a client of each change, in the same bytes: those that come after
 * the first need not be decoded again, which takes milliseconds where there are thousands of partitions. Of the next record, partitions that
 * have not changed stay the same objects.
 */

import { decodeTopology } from '../topology/codec.ts'
import type { Topology } from '../topology/topology.ts'

export class HeardTopology {
  #bytes: Uint8Array | undefined
  #topology: Topology | undefined

  /** @throws CacheError PROTOCOL_ERROR when the bytes are no consistent topology of a known format. */
  decode(bytes: Uint8Array): Topology {
    if (this.#topology !== undefined && this.#bytes !== undefined && isEqual(this.#bytes, bytes))
      return this.#topology
    const topology = decodeTopology(bytes, this.#topology)
    this.#topology = topology
    // A copy: what came is a view of a whole frame.
    this.#bytes = bytes.slice()
    return topology
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0
}
