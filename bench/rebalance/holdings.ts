/**
 * Who holds what, from the topology as a client is told it and the entries that the bench stored: copies, primaries and bytes of
 * each node, and which copies have come to nodes that did not have them.
 *
 * Bytes are those of keys and values.
 */

import { encodeKey, partitionOf } from '../../src/kernel/key.ts'
import type { Topology } from '../../src/topology/topology.ts'
import { keyOf } from './messages.ts'

export interface NodeLoad {
  readonly nodeId: string
  readonly copies: number
  readonly primaries: number
  readonly bytes: number
}

/** Copies made so far. */
export interface Moved {
  readonly copies: number
  readonly bytes: number
}

export class Holdings {
  /** By partition of the default region. */
  readonly #bytes: Float64Array
  readonly #firstPartition: number
  #held: readonly ReadonlySet<string>[] = []
  #epoch = -1
  #copies = 0
  #copiedBytes = 0

  constructor(topology: Topology, entries: number, valueBytes: number) {
    const region = topology.regions.find(({ name }) => name === 'default')
    const group = topology.groups.find(({ name }) => name === region?.group)
    if (region === undefined || group === undefined) throw new Error('there is no region default')
    this.#firstPartition = group.firstPartition
    this.#bytes = new Float64Array(group.partitionCount)
    const key = new Uint8Array(256)
    for (let index = 0; index < entries; index++) {
      const end = encodeKey(keyOf(index), key, 0)
      const at = partitionOf(key, 0, end, region.regionId, group.partitionCount)
      this.#bytes[at] = (this.#bytes[at] as number) + end + valueBytes
    }
    this.observe(topology)
    this.restart()
  }

  get moved(): Moved {
    return { copies: this.#copies, bytes: this.#copiedBytes }
  }

  /** All entries, each counted once. */
  get totalBytes(): number {
    return this.#bytes.reduce((sum, bytes) => sum + bytes, 0)
  }

  get partitions(): number {
    return this.#bytes.length
  }

  /** Counts moves from here on. */
  restart(): void {
    this.#copies = 0
    this.#copiedBytes = 0
  }

  /** Counts the copies that are new since the last look. */
  observe(topology: Topology): void {
    if (topology.epoch === this.#epoch) return
    this.#epoch = topology.epoch
    const held = this.#records(topology).map(
      ({ inSync }) => new Set(inSync.map((node) => topology.nodes[node]?.nodeId ?? '')),
    )
    held.forEach((nodes, at) => {
      for (const node of nodes) {
        if (this.#held[at]?.has(node) === true) continue
        this.#copies++
        this.#copiedBytes += this.#bytes[at] as number
      }
    })
    this.#held = held
  }

  /** Of nodes that hold something. */
  loads(topology: Topology): NodeLoad[] {
    const loads = topology.nodes.map(({ nodeId }) => ({ nodeId, copies: 0, primaries: 0, bytes: 0 }))
    this.#records(topology).forEach(({ primary, inSync }, at) => {
      for (const node of inSync) {
        const load = loads[node]
        if (load === undefined) continue
        load.copies++
        load.bytes += this.#bytes[at] as number
        if (node === primary) load.primaries++
      }
    })
    return loads.filter(({ copies }) => copies > 0)
  }

  #records({ partitions }: Topology): Topology['partitions'] {
    return partitions.slice(this.#firstPartition, this.#firstPartition + this.#bytes.length)
  }
}
