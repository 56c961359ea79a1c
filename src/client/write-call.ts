/**
 * Writes. Each carries an operation id, drawn when it is first encoded and kept for every retry, so that it takes effect
 * at most once however often it is sent.
 */

import type { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Version } from '../kernel/ids.ts'
import { Flag, Opcode, ReadCode } from '../wire/operations.ts'
import { Status } from '../wire/results.ts'
import { type CallBudget, type CallServices, OneCall } from './call.ts'
import type { PooledCopy } from './copy-pool.ts'
import { type Entry, makeEntry, readEntryHead, readVersion } from './entry.ts'
import { type Mutation, writeMutation } from './mutation.ts'
import type { OperationIds } from './operation-ids.ts'
import type { Call, Link } from './pending.ts'
import { expectStatus, LargeRead, type ValueReceiver } from './read-call.ts'
import type { RegionHandle, Target } from './target.ts'

/** What a conditional set came to. */
export type SetResult<V> =
  | { readonly ok: true; readonly version: Version }
  /**
   * The condition did not hold; this is the entry that was found. One whose value is over 64 KiB is read afterwards, so it may
   * be newer than what the condition met, or gone.
   */
  | { readonly ok: false; readonly current: Entry<V> | undefined }

/** The outcome of any write: a version, a count, a boolean or a SetResult. */
export type WriteOutcome = Version | SetResult<unknown> | number | boolean

/** The condition met an entry that is too large to come with the result. */
const CURRENT_IS_LARGE: SetResult<unknown> = { ok: false, current: undefined }

/** A write of one key. Its outcome's form follows from the operation. */
export class WriteCall extends OneCall<WriteOutcome> implements Call, ValueReceiver {
  /** False once the write is known to have changed nothing, while the entry it met is read. */
  isWrite = true
  readonly readKind: number = ReadCode.primary
  readonly slots = 1
  readonly lane: 'operations' | 'bulk'
  uploadId = -1
  readonly downloadBytes = 0
  readonly #services: CallServices
  readonly #region: RegionHandle
  readonly #key: string
  readonly #mutation: Mutation
  readonly #timeoutMs: number
  readonly #showsCurrent: boolean
  #counter = 0
  #ids: OperationIds | undefined

  /** @param showsCurrent whether a large entry that a condition met is read, too */
  constructor(
    services: CallServices,
    region: RegionHandle,
    key: string,
    mutation: Mutation,
    budget: CallBudget,
    showsCurrent = true,
  ) {
    super(budget.deadlineMs, undefined)
    this.#services = services
    this.#region = region
    this.#key = key
    this.#mutation = mutation
    this.#timeoutMs = budget.timeoutMs
    this.#showsCurrent = showsCurrent
    this.lane = mutation.copy === undefined ? 'operations' : 'bulk'
  }

  get origin(): unknown {
    return this
  }

  get upload(): PooledCopy | undefined {
    return this.#mutation.copy
  }

  locate(_slot: number, target: Target): void {
    target.setKey(this.#region, this.#key)
  }

  encode(_slot: number, w: ByteWriter, target: Target, link: Link): void {
    if (this.#ids === undefined) {
      this.#counter = link.ids.next()
      this.#ids = link.ids
    }
    const session = this.#ids === link.ids ? undefined : this.#ids.session
    const uploadId = this.lane === 'bulk' ? this.uploadId : -1
    writeMutation(w, this.#mutation, this.#timeoutMs, target, this.#counter, session, uploadId)
  }

  result(_slot: number, status: number, r: ByteReader): void {
    const outcome = readOutcome(this.#mutation, status, r, this.#services)
    this.#finish()
    if (outcome instanceof CacheError) super.reject(0, outcome)
    else if (outcome === CURRENT_IS_LARGE && this.#showsCurrent && !this.settled) this.#readCurrent()
    else this.resolve(outcome)
  }

  /** The entry that the condition met, or what is there by now, was read. */
  receive(_slot: number, entry: unknown): void {
    this.resolve({ ok: false, current: entry as Entry<unknown> | undefined })
  }

  override resolve(value: WriteOutcome): void {
    this.#release()
    super.resolve(value)
  }

  override reject(slot: number, error: CacheError): void {
    this.#finish()
    this.#release()
    super.reject(slot, error)
  }

  downloaded(): void {}

  #readCurrent(): void {
    this.isWrite = false
    const flags = ReadCode.primary << 2
    const read = new LargeRead(this, 0, this.#services, this.#region, this.#key, Opcode.getEntry, flags, {
      deadlineMs: this.deadlineMs,
      timeoutMs: this.#timeoutMs,
      readKind: ReadCode.primary,
      link: undefined,
    })
    this.#services.router.submit(read, 0)
  }

  #release(): void {
    if (!this.settled) this.#mutation.copy?.release()
  }

  #finish(): void {
    this.#ids?.finish(this.#counter)
  }
}

/**
 * Reads the payload of a write's result. An error is returned when the entry that a condition met can't be decoded.
 * @throws CacheError PROTOCOL_ERROR when it is malformed.
 */
export function readOutcome(
  mutation: Mutation,
  status: number,
  r: ByteReader,
  services: CallServices,
): WriteOutcome | CacheError {
  switch (mutation.opcode) {
    case Opcode.set: {
      const conditional = (mutation.flags & Flag.condition) !== 0
      if (status === Status.conditionFailed && conditional) return readCurrent(r, services)
      expectStatus(status, Status.ok)
      const version = readVersion(r)
      return conditional ? { ok: true, version } : version
    }
    case Opcode.increment:
      expectStatus(status, Status.ok)
      return r.float64()
    case Opcode.delete:
      expectStatus(status, Status.ok, Status.absent, Status.conditionFailed)
      if (status === Status.conditionFailed) readCurrent(r, undefined)
      return status === Status.ok
    default:
      expectStatus(status, Status.ok, Status.absent)
      return status === Status.ok
  }
}

/** The entry that a condition met; without `services` it is only passed over. */
function readCurrent(r: ByteReader, services: CallServices | undefined): SetResult<unknown> | CacheError {
  const presence = r.uint8()
  if (presence === 0) return { ok: false, current: undefined }
  if (presence > 2) throw new CacheError('PROTOCOL_ERROR', `a failed condition shows ${presence}`)
  const head = readEntryHead(r)
  const codec = r.uint8()
  if (presence === 2) return CURRENT_IS_LARGE
  const length = r.varint()
  const start = r.skip(length)
  if (services === undefined) return { ok: false, current: undefined }
  try {
    const value = services.values.decode(codec, r.bytes, start, start + length)
    return { ok: false, current: makeEntry(head, value, services.wallMs()) }
  } catch (error) {
    return toCacheError(error)
  }
}
