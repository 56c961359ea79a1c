/**
 * Operation ids and their outcomes (RIFL: Lee et al., "Implementing Linearizability at Large Scale and Low Latency", SOSP
 * 2015). A retried write is answered with what its first attempt came to, instead of being done again.
 *
 * Each session has a ring of outcomes, indexed by its counter, from its watermark (the smallest counter the client has
 * not finished) up. Invariants:
 * - an outcome at or above the watermark is never forgotten, except with its whole session, `idleMs` after the last write
 *   of it: longer than any client retries;
 * - a counter below the watermark is refused as stale;
 * - a ring that would have to span more than `windowMax` counters refuses the write (OVERLOADED) before it is done.
 *
 * Cost: 37 bytes an outcome, in typed arrays; O(1) to find and record.
 */

import { CacheError } from '../kernel/errors.ts'

export interface OperationTableOptions {
  /** Counters between a session's watermark and its newest write. Default 131,072. */
  readonly windowMax?: number
  /** Sessions kept at one time. Default 10,000. */
  readonly sessionsMax?: number
  /** A session without a write for this long is forgotten, in milliseconds. Default 60,000: twice the longest timeout. */
  readonly idleMs?: number
}

const INITIAL_SLOTS = 64

/** The outcomes of one session. `found` fields hold the last outcome `find` returned. */
export class SessionOutcomes {
  readonly low: number
  readonly high: number
  watermark = 0
  /** Whether the watermark moved since peers were told. */
  moved = false
  lastWriteMs = 0
  readonly #windowMax: number
  #mask = INITIAL_SLOTS - 1
  #counter: Float64Array = new Float64Array(INITIAL_SLOTS)
  #partition: Int32Array = new Int32Array(INITIAL_SLOTS)
  #epoch: Uint32Array = new Uint32Array(INITIAL_SLOTS)
  #sequence: Float64Array = new Float64Array(INITIAL_SLOTS)
  #number: Float64Array = new Float64Array(INITIAL_SLOTS)
  /** Results of batches, which are more than a number. */
  readonly #payloads = new Map<number, Uint8Array>()

  foundPartition = 0
  foundEpoch = 0
  foundSequence = 0
  foundNumber: number = Number.NaN
  foundPayload: Uint8Array | undefined

  constructor(low: number, high: number, windowMax: number) {
    this.low = low
    this.high = high
    this.#windowMax = windowMax
    this.#counter.fill(-1)
  }

  /** Whether this counter has an outcome; if so it is in the `found` fields. */
  find(counter: number): boolean {
    const slot = counter & this.#mask
    if (this.#counter[slot] !== counter) return false
    this.foundPartition = this.#partition[slot] as number
    this.foundEpoch = this.#epoch[slot] as number
    this.foundSequence = this.#sequence[slot] as number
    this.foundNumber = this.#number[slot] as number
    this.foundPayload = this.#payloads.size === 0 ? undefined : this.#payloads.get(counter)
    return true
  }

  /**
   * Whether an outcome of this counter can be kept; grows the ring when it has to.
   * @throws CacheError STALE_OPERATION, or OVERLOADED.
   */
  admit(counter: number): void {
    if (counter < this.watermark) {
      throw new CacheError(
        'STALE_OPERATION',
        `operation ${counter} lies below its session's watermark ${this.watermark}: the client had finished it before`,
      )
    }
    const span = counter - this.watermark + 1
    if (span <= this.#mask + 1) return
    if (span > this.#windowMax) {
      throw new CacheError(
        'OVERLOADED',
        `the session has ${span} writes between its oldest unfinished one and this: wait for some to finish`,
      )
    }
    this.#grow(span)
  }

  record(
    counter: number,
    partition: number,
    epoch: number,
    sequence: number,
    number: number,
    payload: Uint8Array | undefined,
  ): void {
    if (counter < this.watermark) return
    const span = counter - this.watermark + 1
    if (span > this.#mask + 1) this.#grow(span)
    const slot = counter & this.#mask
    this.#counter[slot] = counter
    this.#partition[slot] = partition
    this.#epoch[slot] = epoch
    this.#sequence[slot] = sequence
    this.#number[slot] = number
    if (payload !== undefined) this.#payloads.set(counter, payload)
  }

  advance(watermark: number): void {
    if (watermark <= this.watermark) return
    // Outcomes below it need no clearing: a slot counts only while its counter matches, and smaller ones are refused.
    this.watermark = watermark
    this.moved = true
    if (this.#payloads.size > 0) {
      for (const counter of this.#payloads.keys()) if (counter < watermark) this.#payloads.delete(counter)
    }
  }

  get slots(): number {
    return this.#mask + 1
  }

  #grow(span: number): void {
    let slots = this.#mask + 1
    while (slots < span) slots *= 2
    if (slots > 2 * this.#windowMax) throw new CacheError('INTERNAL', `a window of ${span} operations`)
    const old = { counter: this.#counter, partition: this.#partition, epoch: this.#epoch }
    const { [0]: sequence, [1]: number } = [this.#sequence, this.#number]
    const oldSlots = this.#mask + 1
    this.#mask = slots - 1
    this.#counter = new Float64Array(slots).fill(-1)
    this.#partition = new Int32Array(slots)
    this.#epoch = new Uint32Array(slots)
    this.#sequence = new Float64Array(slots)
    this.#number = new Float64Array(slots)
    for (let i = 0; i < oldSlots; i++) {
      const counter = old.counter[i] as number
      if (counter < this.watermark) continue
      const slot = counter & this.#mask
      this.#counter[slot] = counter
      this.#partition[slot] = old.partition[i] as number
      this.#epoch[slot] = old.epoch[i] as number
      this.#sequence[slot] = sequence[i] as number
      this.#number[slot] = number[i] as number
    }
  }
}

export class OperationTable {
  readonly #windowMax: number
  readonly #sessionsMax: number
  readonly #idleMs: number
  /** By the low half of the session; the few that share it stand in one list. */
  readonly #sessions = new Map<number, SessionOutcomes[]>()
  #count = 0
  #last: SessionOutcomes | undefined

  constructor(options: OperationTableOptions = {}) {
    this.#windowMax = options.windowMax ?? 131_072
    this.#sessionsMax = options.sessionsMax ?? 10_000
    this.#idleMs = options.idleMs ?? 60_000
  }

  get sessionCount(): number {
    return this.#count
  }

  /**
   * The session's outcomes, which begin to be kept at the first call.
   * @throws CacheError OVERLOADED when there are too many sessions.
   */
  session(low: number, high: number): SessionOutcomes {
    const last = this.#last
    if (last !== undefined && last.low === low && last.high === high) return last
    let list = this.#sessions.get(low)
    let found = list?.find((one) => one.high === high)
    if (found === undefined) {
      if (this.#count >= this.#sessionsMax) {
        throw new CacheError('OVERLOADED', `${this.#count} client sessions are open: close some clients`)
      }
      found = new SessionOutcomes(low, high, this.#windowMax)
      if (list === undefined) {
        list = []
        this.#sessions.set(low, list)
      }
      list.push(found)
      this.#count++
    }
    this.#last = found
    return found
  }

  /** Forgets sessions without a write for `idleMs`. */
  sweep(nowMs: number): void {
    for (const [low, list] of this.#sessions) {
      const kept = list.filter((one) => nowMs - one.lastWriteMs < this.#idleMs)
      if (kept.length === list.length) continue
      this.#count -= list.length - kept.length
      if (kept.length === 0) this.#sessions.delete(low)
      else this.#sessions.set(low, kept)
      this.#last = undefined
    }
  }

  *all(): Generator<SessionOutcomes> {
    for (const list of this.#sessions.values()) yield* list
  }
}
