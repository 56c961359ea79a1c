/**
 * Reads of many keys for one promise: one object for all of them, values in the order of the keys. The first failure ends
 * the call.
 */

import type { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { Opcode } from '../wire/operations.ts'
import { Status } from '../wire/results.ts'
import { type CallBudget, type CallServices, OneCall } from './call.ts'
import type { Call } from './pending.ts'
import { expectStatus, LargeRead, readValue, writeRead } from './read-call.ts'
import type { RegionHandle, Target } from './target.ts'

export class ManyReads extends OneCall<unknown[]> implements Call {
  readonly isWrite = false
  readonly lane = 'operations'
  readonly readKind: number
  readonly #services: CallServices
  readonly #region: RegionHandle
  readonly #keys: readonly string[]
  readonly #flags: number
  readonly #timeoutMs: number
  readonly #values: unknown[]
  #missing: number
  /** How often each slot was tried again; made when the first one is. */
  #attempts: Uint16Array | undefined

  constructor(
    services: CallServices,
    region: RegionHandle,
    keys: readonly string[],
    readKind: number,
    flags: number,
    budget: CallBudget,
  ) {
    super(budget.deadlineMs, undefined)
    this.readKind = readKind
    this.#services = services
    this.#region = region
    this.#keys = keys
    this.#flags = flags | (readKind << 2)
    this.#timeoutMs = budget.timeoutMs
    // Holes are all filled before anybody sees them.
    this.#values = new Array<unknown>(keys.length)
    this.#missing = keys.length
  }

  get slots(): number {
    return this.#keys.length
  }

  submit(): void {
    const { router } = this.#services
    for (let slot = 0; slot < this.#keys.length && !this.settled; slot++) router.submit(this, slot)
    if (this.#keys.length === 0) this.resolve(this.#values)
  }

  locate(slot: number, target: Target): void {
    target.setKey(this.#region, this.#keys[slot] as string)
  }

  encode(_slot: number, w: ByteWriter, target: Target): void {
    writeRead(w, Opcode.get, this.#flags, this.#timeoutMs, target)
  }

  result(slot: number, status: number, r: ByteReader): void {
    if (status === Status.absent) {
      this.receive(slot, undefined)
    } else if (status === Status.large) {
      r.varint()
      if (!this.settled) this.#askAgain(slot)
    } else {
      expectStatus(status, Status.ok)
      readValue(this, slot, r, Opcode.get, this.#services)
    }
  }

  receive(slot: number, value: unknown): void {
    this.#values[slot] = value
    if (--this.#missing === 0) this.resolve(this.#values)
  }

  override nextAttempt(slot: number): number {
    this.#attempts ??= new Uint16Array(this.#keys.length)
    this.#attempts[slot] = (this.#attempts[slot] as number) + 1
    return this.#attempts[slot] as number
  }

  #askAgain(slot: number): void {
    const { deadlineMs, readKind, link } = this
    const key = this.#keys[slot] as string
    const call = new LargeRead(this, slot, this.#services, this.#region, key, Opcode.get, this.#flags, {
      deadlineMs,
      readKind,
      link,
      timeoutMs: this.#timeoutMs,
    })
    this.#services.router.submit(call, 0)
  }
}
