/** Operations that concern a partition or a whole node rather than a key: SCAN, CLEAR, STATS. */

import type { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import { Flag, Opcode, writeOperationId, writeOperationStart } from '../wire/operations.ts'
import { Status } from '../wire/results.ts'
import { type CallBudget, OneCall } from './call.ts'
import type { OperationIds } from './operation-ids.ts'
import type { Call, Link } from './pending.ts'
import { expectStatus } from './read-call.ts'
import type { RegionHandle, Target } from './target.ts'

/** Buckets of a partition; a scan's cursor stands between two. */
export const SCAN_BUCKETS = 64

/** A run of whole buckets. */
export interface ScanPage {
  /** The first bucket behind it; 64: the partition is finished. */
  readonly nextBucket: number
  /** As stored, prefix included. */
  readonly keys: readonly string[]
}

export class ScanCall extends OneCall<ScanPage> implements Call {
  readonly isWrite = false
  readonly lane = 'operations'
  readonly slots = 1
  readonly readKind: number
  readonly #region: RegionHandle
  readonly #partition: number
  readonly #bucket: number
  readonly #bytesMax: number
  readonly #pattern: Uint8Array
  readonly #timeoutMs: number

  constructor(
    region: RegionHandle,
    partition: number,
    bucket: number,
    bytesMax: number,
    pattern: Uint8Array,
    readKind: number,
    budget: CallBudget,
  ) {
    super(budget.deadlineMs, undefined)
    this.readKind = readKind
    this.#region = region
    this.#partition = partition
    this.#bucket = bucket
    this.#bytesMax = bytesMax
    this.#pattern = pattern
    this.#timeoutMs = budget.timeoutMs
  }

  locate(_slot: number, target: Target): void {
    target.setPartition(this.#region, this.#partition)
  }

  encode(_slot: number, w: ByteWriter, target: Target): void {
    writeOperationStart(w, Opcode.scan, this.readKind << 2, this.#timeoutMs)
    w.varint(target.regionId)
    w.varint(target.partitionEpoch)
    w.varint(this.#partition)
    w.varint(this.#bucket)
    w.varint(this.#bytesMax)
    w.blob(this.#pattern)
  }

  result(_slot: number, status: number, r: ByteReader): void {
    expectStatus(status, Status.ok)
    const nextBucket = r.varint()
    const count = r.varint()
    if (nextBucket <= this.#bucket || nextBucket > SCAN_BUCKETS || count > r.remaining) {
      throw new CacheError('PROTOCOL_ERROR', 'a scan returned a page that makes no sense')
    }
    const keys: string[] = []
    for (let i = 0; i < count; i++) keys.push(r.text())
    this.resolve({ nextBucket, keys })
  }
}

/** Removes what begins with the region's prefix from one partition. */
export class ClearCall extends OneCall<number> implements Call {
  readonly isWrite = true
  readonly lane = 'operations'
  readonly slots = 1
  readonly readKind = 1
  readonly #region: RegionHandle
  readonly #partition: number
  readonly #durability: number
  readonly #timeoutMs: number
  #counter = 0
  #ids: OperationIds | undefined

  constructor(region: RegionHandle, partition: number, durability: number, budget: CallBudget) {
    super(budget.deadlineMs, undefined)
    this.#region = region
    this.#partition = partition
    this.#durability = durability
    this.#timeoutMs = budget.timeoutMs
  }

  locate(_slot: number, target: Target): void {
    target.setPartition(this.#region, this.#partition)
  }

  encode(_slot: number, w: ByteWriter, target: Target, link: Link): void {
    if (this.#ids === undefined) {
      this.#counter = link.ids.next()
      this.#ids = link.ids
    }
    const session = this.#ids === link.ids ? undefined : this.#ids.session
    const flags = (this.#durability << 2) | (session === undefined ? 0 : Flag.session)
    writeOperationStart(w, Opcode.clear, flags, this.#timeoutMs)
    w.varint(target.regionId)
    w.varint(target.partitionEpoch)
    w.varint(this.#partition)
    writeOperationId(w, this.#counter, session)
    w.blob(this.#region.prefixBytes)
  }

  result(_slot: number, status: number, r: ByteReader): void {
    expectStatus(status, Status.ok)
    const removed = r.varint()
    this.#ids?.finish(this.#counter)
    this.resolve(removed)
  }

  override reject(slot: number, error: CacheError): void {
    this.#ids?.finish(this.#counter)
    super.reject(slot, error)
  }
}

/** One node's figures of a region, as JSON text. */
export class StatsCall extends OneCall<string> implements Call {
  readonly isWrite = false
  readonly lane = 'operations'
  readonly slots = 1
  readonly readKind = 1
  readonly #region: RegionHandle
  readonly #timeoutMs: number

  constructor(region: RegionHandle, link: Link, budget: CallBudget) {
    super(budget.deadlineMs, link)
    this.#region = region
    this.#timeoutMs = budget.timeoutMs
  }

  locate(_slot: number, target: Target): void {
    target.setPartition(this.#region, 0)
  }

  encode(_slot: number, w: ByteWriter, target: Target): void {
    writeOperationStart(w, Opcode.stats, 0, this.#timeoutMs)
    w.varint(target.regionId)
  }

  result(_slot: number, status: number, r: ByteReader): void {
    expectStatus(status, Status.ok)
    this.resolve(r.text(1024 * 1024))
  }
}
