/**
 * Where an operation goes: the key in bytes, its region, partition and the epoch known of it. One target is filled anew
 * for each operation; the bytes of a key are made once, hashed there and copied into the frame.
 */

import { CacheError } from '../kernel/errors.ts'
import { encodeKey, KEY_BYTES_MAX } from '../kernel/key.ts'
import { type GroupRecord, groupOf, locate, type RegionRecord, type Topology } from '../topology/topology.ts'

/** A region as this client addresses it: by name, with the prefix in front of every key. */
export class RegionHandle {
  readonly name: string
  readonly prefix: string
  readonly prefixBytes: Uint8Array
  #topology: Topology | undefined
  #record: RegionRecord | undefined
  #group: GroupRecord | undefined

  constructor(name: string, prefix: string) {
    this.name = name
    this.prefix = prefix
    const bytes = new Uint8Array(prefix.length * 3)
    const length = prefix.length > KEY_BYTES_MAX ? KEY_BYTES_MAX : encodeKey(prefix, bytes, 0)
    if (length < 0 || length >= KEY_BYTES_MAX) {
      throw new CacheError(
        'INVALID_ARGUMENT',
        `keyPrefix must be well-formed text of fewer than ${KEY_BYTES_MAX} bytes`,
      )
    }
    this.prefixBytes = bytes.subarray(0, length)
  }

  /** @throws CacheError UNKNOWN_REGION naming those that exist. */
  record(topology: Topology): RegionRecord {
    if (topology === this.#topology && this.#record !== undefined) return this.#record
    const record = topology.regions.find((region) => region.name === this.name)
    if (record === undefined) {
      const names = topology.regions.map((region) => region.name).join(', ')
      throw new CacheError(
        'UNKNOWN_REGION',
        `there is no region ${JSON.stringify(this.name)}; the cluster has: ${names}`,
      )
    }
    this.#topology = topology
    this.#record = record
    this.#group = groupOf(topology, record)
    return record
  }

  group(topology: Topology): GroupRecord {
    this.record(topology)
    return this.#group as GroupRecord
  }
}

export class Target {
  regionId = 0
  /** The region's own choice of who answers reads. */
  regionRead: RegionRecord['read'] = 'primary'
  partition = 0
  partitionEpoch = 0
  /** The stored key, prefix included, is `key[0..keyEnd)`. */
  readonly key: Uint8Array = new Uint8Array(KEY_BYTES_MAX * 3 + KEY_BYTES_MAX)
  keyEnd = 0
  topology: Topology

  constructor(topology: Topology) {
    this.topology = topology
  }

  /** @throws CacheError when the key is no valid key, or the region does not exist. */
  setKey(region: RegionHandle, key: string): void {
    const record = region.record(this.topology)
    this.regionId = record.regionId
    this.regionRead = record.read
    this.keyEnd = encodeStoredKey(region, key, this.key)
    this.partition = locate(region.group(this.topology), record.regionId, this.key, 0, this.keyEnd)
    this.partitionEpoch =
      (this.topology.partitions[this.partition]?.partitionEpoch as number | undefined) ?? 0
  }

  /** The operation concerns a whole partition of a region. */
  setPartition(region: RegionHandle, partition: number): void {
    const record = region.record(this.topology)
    this.regionId = record.regionId
    this.regionRead = record.read
    this.partition = partition
    this.partitionEpoch = (this.topology.partitions[partition]?.partitionEpoch as number | undefined) ?? 0
    this.keyEnd = 0
  }
}

/** Writes prefix and key. @returns the number of bytes. @throws CacheError INVALID_ARGUMENT or KEY_TOO_LARGE. */
function encodeStoredKey(region: RegionHandle, key: string, target: Uint8Array): number {
  if (typeof key !== 'string' || key.length === 0) {
    throw new CacheError(
      'INVALID_ARGUMENT',
      `a key must be a string of at least one character, not ${describe(key)}`,
    )
  }
  const { prefixBytes } = region
  const prefixEnd = prefixBytes.length
  if (prefixEnd > 0) target.set(prefixBytes)
  const bytes = key.length > KEY_BYTES_MAX ? key.length : encodeKey(key, target, prefixEnd)
  if (bytes < 0) {
    throw new CacheError('INVALID_ARGUMENT', `the key ${JSON.stringify(key)} holds half a surrogate pair`, {
      key,
    })
  }
  const total = bytes + prefixEnd
  if (total > KEY_BYTES_MAX) {
    const shown = `${key.slice(0, 40)}…`
    throw new CacheError(
      'KEY_TOO_LARGE',
      `the key ${JSON.stringify(shown)} takes more than ${KEY_BYTES_MAX} bytes of UTF-8, prefix included: shorten or hash it`,
    )
  }
  return total
}

function describe(key: unknown): string {
  return typeof key === 'string' ? 'an empty one' : key === null ? 'null' : `of type ${typeof key}`
}
