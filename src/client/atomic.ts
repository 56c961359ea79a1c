/**
 * Checks and writes that happen together or not at all, on keys of one partition. Keys that share a hash tag, the part
 * between `{` and `}`, share a partition: `{cart:7}:items`, `{cart:7}:total`.
 */

import type { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import type { Version } from '../kernel/ids.ts'
import { ATOMIC_MEMBERS_MAX, type AtomicCheck, writeAtomicCheck } from '../wire/atomic.ts'
import { INLINE_VALUE_BYTES_MAX } from '../wire/frames.ts'
import { Flag, Opcode, writeOperationId, writeOperationStart, writeTarget } from '../wire/operations.ts'
import { Status } from '../wire/results.ts'
import { type CallBudget, type CallServices, OneCall } from './call.ts'
import { Mutation, setMutation, type WriteDefaults, writeMutation } from './mutation.ts'
import type { OperationIds } from './operation-ids.ts'
import { durabilityCode, parseTtlMs, type SetOptions, type WriteOptions } from './options.ts'
import type { Call, Link } from './pending.ts'
import { expectStatus } from './read-call.ts'
import { type RegionHandle, Target } from './target.ts'
import { readOutcome, type WriteOutcome } from './write-call.ts'

/** Largest group, in bytes as sent: it travels in one frame. */
const GROUP_BYTES_MAX = 512 * 1024

/** What a key must be for the group to happen. `value` compares the stored form: equal values stored with the same settings. */
export type AtomicExpectation<V> =
  | 'absent'
  | 'present'
  | { readonly version: Version }
  | { readonly value: V }

export type AtomicResult =
  /** One outcome per write, in their order: the version of a set, whether a delete found something, the value of a counter. */
  | { readonly ok: true; readonly results: readonly (Version | boolean | number)[] }
  /** Nothing was changed; this is the position of the first check that did not hold. */
  | { readonly ok: false; readonly failedCheck: number }

interface Check {
  readonly key: string
  readonly check: AtomicCheck
}

interface Write {
  readonly key: string
  readonly mutation: Mutation
}

/** Sends a group. */
export type ExecuteAtomic = (
  checks: readonly Check[],
  writes: readonly Write[],
  options: WriteOptions,
) => Promise<AtomicResult>

export class Atomic<V = unknown> {
  readonly #services: CallServices
  readonly #defaults: WriteDefaults
  readonly #execute: ExecuteAtomic
  readonly #checks: Check[] = []
  readonly #writes: Write[] = []

  constructor(services: CallServices, defaults: WriteDefaults, execute: ExecuteAtomic) {
    this.#services = services
    this.#defaults = { ...defaults, durability: 0 }
    this.#execute = execute
  }

  /** The group happens only if the key is as expected. @throws CacheError INVALID_ARGUMENT, SERIALIZATION. */
  check(key: string, expected: AtomicExpectation<V>): this {
    this.#checks.push({ key, check: this.#checkOf(expected) })
    return this
  }

  set(key: string, value: V, options: Pick<SetOptions, 'ttl' | 'tags'> = {}): this {
    const { values } = this.#services
    const { ttl, tags, when }: SetOptions = options
    if (when !== undefined)
      throw new CacheError(
        'INVALID_ARGUMENT',
        'a set in a group has no condition (when) of its own: use check()',
      )
    const own = { ...(ttl === undefined ? {} : { ttl }), ...(tags === undefined ? {} : { tags }) }
    const mutation = setMutation(values, value, own, this.#defaults, INLINE_VALUE_BYTES_MAX)
    this.#writes.push({ key, mutation })
    return this
  }

  delete(key: string): this {
    this.#writes.push({ key, mutation: new Mutation(Opcode.delete, undefined, this.#defaults) })
    return this
  }

  increment(
    key: string,
    by = 1,
    options: { readonly initial?: number; readonly ttl?: SetOptions['ttl'] } = {},
  ): this {
    const mutation = new Mutation(Opcode.increment, undefined, this.#defaults)
    mutation.by = by
    mutation.initial = options.initial ?? 0
    if (!Number.isFinite(mutation.by) || !Number.isFinite(mutation.initial)) {
      throw new CacheError('INVALID_ARGUMENT', 'a counter changes by finite numbers only')
    }
    mutation.setTtl(options.ttl === undefined ? this.#defaults.ttlMs : parseTtlMs(options.ttl))
    this.#writes.push({ key, mutation })
    return this
  }

  /** @throws CacheError INVALID_ARGUMENT when the keys lie in different partitions. */
  execute(options: WriteOptions = {}): Promise<AtomicResult> {
    return this.#execute(this.#checks, this.#writes, options)
  }

  #checkOf(expected: AtomicExpectation<V>): AtomicCheck {
    if (expected === 'absent' || expected === 'present') return { kind: expected }
    if (typeof expected === 'object' && expected !== null) {
      if ('version' in expected) {
        const probe = new Mutation(Opcode.delete, undefined, this.#defaults)
        probe.setCondition({ version: expected.version })
        return { kind: 'version', partitionEpoch: probe.conditionEpoch, sequence: probe.conditionSequence }
      }
      if ('value' in expected) {
        const { value, codec } = setMutation(
          this.#services.values,
          expected.value,
          undefined,
          this.#defaults,
          INLINE_VALUE_BYTES_MAX,
        )
        return { kind: 'value', codec, value: value as Uint8Array }
      }
    }
    throw new CacheError('INVALID_ARGUMENT', "a check expects 'absent', 'present', { version } or { value }")
  }
}

export class AtomicCall extends OneCall<AtomicResult> implements Call {
  readonly isWrite = true
  readonly lane = 'operations'
  readonly readKind = 1
  readonly slots = 1
  readonly #services: CallServices
  readonly #region: RegionHandle
  readonly #checks: readonly Check[]
  readonly #writes: readonly Write[]
  readonly #durability: number
  readonly #timeoutMs: number
  readonly #member: Target
  #counter = 0
  #ids: OperationIds | undefined

  constructor(
    services: CallServices,
    region: RegionHandle,
    checks: readonly Check[],
    writes: readonly Write[],
    options: WriteOptions,
    defaults: WriteDefaults,
    budget: CallBudget,
  ) {
    super(budget.deadlineMs, undefined)
    this.#services = services
    this.#region = region
    this.#checks = checks
    this.#writes = writes
    this.#durability =
      options.durability === undefined ? defaults.durability : durabilityCode(options.durability)
    this.#timeoutMs = budget.timeoutMs
    this.#member = new Target(services.router.topology)
  }

  locate(_slot: number, target: Target): void {
    const members = [...this.#checks, ...this.#writes]
    const first = members[0]
    if (first === undefined)
      throw new CacheError('INVALID_ARGUMENT', 'an atomic group needs at least one check or write')
    if (members.length > ATOMIC_MEMBERS_MAX) {
      throw new CacheError(
        'INVALID_ARGUMENT',
        `an atomic group holds at most ${ATOMIC_MEMBERS_MAX} checks and writes`,
      )
    }
    this.#member.topology = target.topology
    target.setKey(this.#region, first.key)
    for (const { key } of members) {
      this.#member.setKey(this.#region, key)
      if (this.#member.partition === target.partition) continue
      throw new CacheError(
        'INVALID_ARGUMENT',
        `the keys ${JSON.stringify(first.key)} and ${JSON.stringify(key)} lie in different partitions: give the keys of an atomic group a common part in braces, such as '{group}:a' and '{group}:b'`,
        { key },
      )
    }
  }

  encode(_slot: number, w: ByteWriter, target: Target, link: Link): void {
    const start = w.length
    if (this.#ids === undefined) {
      this.#counter = link.ids.next()
      this.#ids = link.ids
    }
    const session = this.#ids === link.ids ? undefined : this.#ids.session
    const flags = (this.#durability << 2) | (session === undefined ? 0 : Flag.session)
    writeOperationStart(w, Opcode.atomic, flags, this.#timeoutMs)
    writeTarget(w, target.regionId, target.partitionEpoch, target.key, 0, target.keyEnd)
    writeOperationId(w, this.#counter, session)
    w.varint(this.#checks.length + this.#writes.length)
    const member = this.#member
    for (const { key, check } of this.#checks) {
      member.setKey(this.#region, key)
      writeAtomicCheck(w, member.regionId, member.partitionEpoch, member.key, 0, member.keyEnd, check)
    }
    for (const { key, mutation } of this.#writes) {
      member.setKey(this.#region, key)
      writeMutation(w, mutation, 0, member, 0, undefined, -1)
    }
    if (w.length - start > GROUP_BYTES_MAX) {
      throw new CacheError(
        'VALUE_TOO_LARGE',
        `an atomic group may take at most ${GROUP_BYTES_MAX} bytes: split it`,
      )
    }
  }

  result(_slot: number, status: number, r: ByteReader): void {
    if (status === Status.conditionFailed) {
      this.#end({ ok: false, failedCheck: r.varint() })
      return
    }
    expectStatus(status, Status.ok)
    if (r.varint() !== this.#writes.length)
      throw new CacheError('PROTOCOL_ERROR', 'an atomic result has a wrong count')
    const results: WriteOutcome[] = []
    for (const { mutation } of this.#writes) {
      results.push(readOutcome(mutation, r.uint8(), r, this.#services) as WriteOutcome)
    }
    this.#end({ ok: true, results: results as (Version | boolean | number)[] })
  }

  override reject(slot: number, error: CacheError): void {
    this.#ids?.finish(this.#counter)
    super.reject(slot, error)
  }

  #end(result: AtomicResult): void {
    this.#ids?.finish(this.#counter)
    this.resolve(result)
  }
}
