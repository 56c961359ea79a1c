/**
 * Writes of many keys for one promise. Each key has its own outcome or error; the call itself never fails.
 */

import type { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import type { CacheError } from '../kernel/errors.ts'
import { type CallBudget, type CallServices, OneCall } from './call.ts'
import { type Mutation, writeMutation } from './mutation.ts'
import type { OperationIds } from './operation-ids.ts'
import type { Call, Link } from './pending.ts'
import type { RegionHandle, Target } from './target.ts'
import { readOutcome, type WriteOutcome } from './write-call.ts'

/** One of the writes. */
export class ManyWritesItem {
  readonly key: string
  readonly mutation: Mutation
  outcome: WriteOutcome | CacheError | undefined
  counter = 0
  ids: OperationIds | undefined
  attempts = 0
  lost = false

  constructor(key: string, mutation: Mutation) {
    this.key = key
    this.mutation = mutation
  }
}

export class ManyWrites extends OneCall<readonly ManyWritesItem[]> implements Call {
  readonly isWrite = true
  readonly readKind = 1
  readonly lane = 'operations'
  readonly #services: CallServices
  readonly #region: RegionHandle
  readonly #items: readonly ManyWritesItem[]
  readonly #timeoutMs: number
  #missing: number

  constructor(
    services: CallServices,
    region: RegionHandle,
    items: readonly ManyWritesItem[],
    budget: CallBudget,
  ) {
    super(budget.deadlineMs, undefined)
    this.#services = services
    this.#region = region
    this.#items = items
    this.#timeoutMs = budget.timeoutMs
    this.#missing = items.length
  }

  get slots(): number {
    return this.#items.length
  }

  submit(): void {
    const { router } = this.#services
    for (let slot = 0; slot < this.#items.length; slot++) router.submit(this, slot)
    if (this.#items.length === 0) this.resolve(this.#items)
  }

  locate(slot: number, target: Target): void {
    target.setKey(this.#region, this.#item(slot).key)
  }

  encode(slot: number, w: ByteWriter, target: Target, link: Link): void {
    const item = this.#item(slot)
    if (item.ids === undefined) {
      item.counter = link.ids.next()
      item.ids = link.ids
    }
    const session = item.ids === link.ids ? undefined : item.ids.session
    writeMutation(w, item.mutation, this.#timeoutMs, target, item.counter, session, -1)
  }

  result(slot: number, status: number, r: ByteReader): void {
    const item = this.#item(slot)
    this.#settle(item, readOutcome(item.mutation, status, r, this.#services))
  }

  override reject(slot: number, error: CacheError): void {
    this.#settle(this.#item(slot), error)
  }

  override isSettled(slot: number): boolean {
    return this.#item(slot).outcome !== undefined
  }

  override nextAttempt(slot: number): number {
    return ++this.#item(slot).attempts
  }

  override lost(slot: number): void {
    this.#item(slot).lost = true
  }

  override wasLost(slot: number): boolean {
    return this.#item(slot).lost
  }

  #settle(item: ManyWritesItem, outcome: WriteOutcome | CacheError): void {
    item.ids?.finish(item.counter)
    if (item.outcome !== undefined) return
    item.outcome = outcome
    if (--this.#missing === 0) this.resolve(this.#items)
  }

  #item(slot: number): ManyWritesItem {
    return this.#items[slot] as ManyWritesItem
  }
}
