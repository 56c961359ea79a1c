/**
 * Writes one record after the other in the bytes of `encodeTopology`. A commit changes few partitions and seldom the ring, and what it
 * leaves alone stays the same object (apply-transform.ts): the bytes of that are copied from the record before in long runs, where
 * writing each field takes ten times as long.
 *
 * Any topology may follow any other; what is not the same object is written anew. It keeps one record, and its partitions' bytes.
 */

import { ByteWriter } from '../kernel/bytes.ts'
import { type Audience, isWhole, writeHead, writePartition, writeRing, writeTail } from './codec.ts'
import type { JobsRecord } from './jobs.ts'
import type { PartitionRecord, RingRecord, Topology } from './topology.ts'

export class RecordEncoder {
  readonly #audience: Audience
  readonly #writer = new ByteWriter(4096)
  #ring: RingRecord | undefined
  #ringBytes: Uint8Array = new Uint8Array(0)
  #jobs: JobsRecord | undefined
  #tailBytes: Uint8Array = new Uint8Array(0)
  #whole = false
  #partitions: readonly PartitionRecord[] = []
  /** The record written last. */
  #bytes: Uint8Array = new Uint8Array(0)
  /** Where each partition of it ends there, after where the first begins. */
  #bounds = new Uint32Array(1)

  constructor(audience: Audience) {
    this.#audience = audience
  }

  /** The same bytes as `encodeTopology` gives. */
  encode(topology: Topology): Uint8Array {
    const whole = isWhole(topology, this.#audience)
    if (whole !== this.#whole) this.#partitions = []
    this.#whole = whole
    const w = this.#writer
    writeHead(w, topology, this.#audience, whole ? this.#ringOf(topology.ring) : undefined)
    this.#writePartitions(w, topology.partitions)
    if (whole) w.raw(this.#tailOf(topology))
    this.#bytes = w.toBytes()
    w.clear()
    return this.#bytes
  }

  #writePartitions(w: ByteWriter, partitions: readonly PartitionRecord[]): void {
    const before = this.#partitions
    const from = this.#bounds
    const bounds = new Uint32Array(partitions.length + 1)
    bounds[0] = w.length
    for (let p = 0; p < partitions.length; ) {
      if (partitions[p] !== before[p]) {
        writePartition(w, partitions[p] as PartitionRecord, this.#whole)
        bounds[++p] = w.length
        continue
      }
      const first = p
      const start = from[first] as number
      const shift = w.length - start
      while (p < partitions.length && partitions[p] === before[p]) bounds[++p] = (from[p] as number) + shift
      w.raw(this.#bytes, start, from[p] as number)
    }
    this.#partitions = partitions
    this.#bounds = bounds
  }

  #tailOf(topology: Topology): Uint8Array {
    if (topology.jobs !== this.#jobs) {
      const w = new ByteWriter(4096)
      writeTail(w, topology)
      this.#tailBytes = w.toBytes()
      this.#jobs = topology.jobs
    }
    return this.#tailBytes
  }

  #ringOf(ring: RingRecord): Uint8Array {
    if (ring !== this.#ring) {
      const w = new ByteWriter(4096)
      writeRing(w, ring)
      this.#ringBytes = w.toBytes()
      this.#ring = ring
    }
    return this.#ringBytes
  }
}
