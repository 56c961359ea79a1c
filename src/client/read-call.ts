/**
 * Reads of one key. A value too large for an operations stream is asked for again on the bulk stream, for the same promise.
 *
 * `get` is the hottest path of all: per call one promise and this object, nothing per field.
 */

import type { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import { Opcode, writeOperationStart, writeTarget } from '../wire/operations.ts'
import { Status } from '../wire/results.ts'
import type { BulkCall } from './bulk.ts'
import { type CallBudget, type CallServices, OneCall } from './call.ts'
import { type EntryHead, makeEntry, readEntryHead } from './entry.ts'
import type { Call, Link } from './pending.ts'
import type { RegionHandle, Target } from './target.ts'

export type ReadOpcode = typeof Opcode.get | typeof Opcode.getEntry | typeof Opcode.has | typeof Opcode.ttl

/** The wait for a value, on either stream. */
export interface ValueReceiver {
  receive(slot: number, value: unknown): void
  reject(slot: number, error: CacheError): void
  isSettled(slot: number): boolean
}

export class ReadCall extends OneCall<unknown> implements Call, ValueReceiver {
  readonly isWrite = false
  readonly lane = 'operations'
  readonly slots = 1
  readonly readKind: number
  readonly #services: CallServices
  readonly #region: RegionHandle
  readonly #key: string
  readonly #opcode: ReadOpcode
  readonly #flags: number
  readonly #timeoutMs: number

  constructor(
    services: CallServices,
    region: RegionHandle,
    key: string,
    opcode: ReadOpcode,
    readKind: number,
    flags: number,
    budget: CallBudget,
    link: Link | undefined,
  ) {
    super(budget.deadlineMs, link)
    this.readKind = readKind
    this.#services = services
    this.#region = region
    this.#key = key
    this.#opcode = opcode
    this.#flags = flags | (readKind << 2)
    this.#timeoutMs = budget.timeoutMs
  }

  locate(_slot: number, target: Target): void {
    target.setKey(this.#region, this.#key)
  }

  encode(_slot: number, w: ByteWriter, target: Target): void {
    writeRead(w, this.#opcode, this.#flags, this.#timeoutMs, target)
  }

  result(slot: number, status: number, r: ByteReader): void {
    switch (this.#opcode) {
      case Opcode.has:
        expectStatus(status, Status.ok, Status.absent)
        this.resolve(status === Status.ok)
        return
      case Opcode.ttl:
        this.resolve(status === Status.ok ? readRemaining(r) : undefined)
        return
      default:
        if (status === Status.absent) {
          this.resolve(undefined)
        } else if (status === Status.large) {
          r.varint()
          if (!this.settled) this.#askAgain(slot)
        } else {
          expectStatus(status, Status.ok)
          readValue(this, slot, r, this.#opcode, this.#services)
        }
    }
  }

  receive(_slot: number, value: unknown): void {
    this.resolve(value)
  }

  #askAgain(slot: number): void {
    const { deadlineMs, readKind, link } = this
    const call = new LargeRead(
      this,
      slot,
      this.#services,
      this.#region,
      this.#key,
      this.#opcode,
      this.#flags,
      {
        deadlineMs,
        readKind,
        link,
        timeoutMs: this.#timeoutMs,
      },
    )
    this.#services.router.submit(call, 0)
  }
}

export interface LargeReadOptions extends CallBudget {
  readonly readKind: number
  readonly link: Link | undefined
}

/** A read on the bulk stream on behalf of another call. */
export class LargeRead implements BulkCall {
  readonly isWrite = false
  readonly lane = 'bulk'
  readonly upload = undefined
  readonly deadlineMs: number
  readonly readKind: number
  readonly link: Link | undefined
  uploadId = 0
  downloadBytes = 0
  readonly #receiver: ValueReceiver
  readonly #receiverSlot: number
  readonly #services: CallServices
  readonly #region: RegionHandle
  readonly #key: string
  readonly #opcode: ReadOpcode
  readonly #flags: number
  readonly #timeoutMs: number
  #attempts = 0
  #head: EntryHead | undefined
  #codec = 0

  constructor(
    receiver: ValueReceiver,
    receiverSlot: number,
    services: CallServices,
    region: RegionHandle,
    key: string,
    opcode: ReadOpcode,
    flags: number,
    options: LargeReadOptions,
  ) {
    this.#receiver = receiver
    this.#receiverSlot = receiverSlot
    this.#services = services
    this.#region = region
    this.#key = key
    this.#opcode = opcode
    this.#flags = flags
    this.#timeoutMs = options.timeoutMs
    this.deadlineMs = options.deadlineMs
    this.readKind = options.readKind
    this.link = options.link
  }

  get origin(): unknown {
    return this.#receiver
  }

  locate(_slot: number, target: Target): void {
    target.setKey(this.#region, this.#key)
  }

  encode(_slot: number, w: ByteWriter, target: Target): void {
    writeRead(w, this.#opcode, this.#flags, this.#timeoutMs, target)
  }

  result(_slot: number, status: number, r: ByteReader): void {
    if (status === Status.absent) {
      this.#receiver.receive(this.#receiverSlot, undefined)
    } else if (status === Status.chunked) {
      this.#head = this.#opcode === Opcode.getEntry ? readEntryHead(r) : undefined
      this.#codec = r.uint8()
      this.downloadBytes = r.varint()
    } else {
      // It was replaced by a smaller one meanwhile.
      expectStatus(status, Status.ok)
      readValue(this.#receiver, this.#receiverSlot, r, this.#opcode, this.#services)
    }
  }

  downloaded(bytes: Uint8Array): void {
    deliver(
      this.#receiver,
      this.#receiverSlot,
      this.#services,
      this.#head,
      this.#codec,
      bytes,
      0,
      bytes.length,
      true,
    )
  }

  reject(_slot: number, error: CacheError): void {
    this.#receiver.reject(this.#receiverSlot, error)
  }

  isSettled(): boolean {
    return this.#receiver.isSettled(this.#receiverSlot)
  }

  nextAttempt(): number {
    return ++this.#attempts
  }

  lost(): void {}

  wasLost(): boolean {
    return false
  }
}

/** @throws CacheError PROTOCOL_ERROR when a node answers with a status that the operation does not have. */
export function expectStatus(
  status: number,
  expected: number,
  other: number = expected,
  third: number = expected,
): void {
  if (status !== expected && status !== other && status !== third)
    throw new CacheError('PROTOCOL_ERROR', `a result has the unexpected status ${status}`)
}

function readRemaining(r: ByteReader): number {
  const remainingMs = r.float64()
  return remainingMs < 0 ? Number.POSITIVE_INFINITY : remainingMs
}

/** Writes a GET, GET_ENTRY, HAS or TTL of the target's key. */
export function writeRead(
  w: ByteWriter,
  opcode: ReadOpcode,
  flags: number,
  timeoutMs: number,
  target: Target,
): void {
  writeOperationStart(w, opcode, flags, timeoutMs)
  writeTarget(w, target.regionId, target.partitionEpoch, target.key, 0, target.keyEnd)
}

/** Reads the payload of an `ok` and hands the value over, unless nobody waits for it. */
export function readValue(
  receiver: ValueReceiver,
  slot: number,
  r: ByteReader,
  opcode: ReadOpcode,
  services: CallServices,
): void {
  const head = opcode === Opcode.getEntry ? readEntryHead(r) : undefined
  const codec = r.uint8()
  const length = r.varint()
  const start = r.skip(length)
  if (receiver.isSettled(slot)) return
  deliver(receiver, slot, services, head, codec, r.bytes, start, start + length, false)
}

function deliver(
  receiver: ValueReceiver,
  slot: number,
  services: CallServices,
  head: EntryHead | undefined,
  codec: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  owned: boolean,
): void {
  let value: unknown
  try {
    value = services.values.decode(codec, bytes, start, end, owned)
  } catch (error) {
    receiver.reject(slot, toCacheError(error))
    return
  }
  receiver.receive(slot, head === undefined ? value : makeEntry(head, value, services.wallMs()))
}
