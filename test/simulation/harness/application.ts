/**
 * One application of a simulation: the real client on a machine of its own, which reads and writes a few keys that others
 * write too, and notes what it was told.
 */

import type { BatchResult } from '../../../src/client/batch.ts'
import type { Cache } from '../../../src/client/cache.ts'
import type { SetResult } from '../../../src/client/write-call.ts'
import { CacheError, type ErrorCode } from '../../../src/kernel/errors.ts'
import type { Version } from '../../../src/kernel/ids.ts'
import { integerBetween, type SeededRandom, uniform } from '../../../src/kernel/random.ts'
import type {
  HistoryInput,
  HistoryOp,
  HistoryOutput,
  HistoryRecorder,
  OpenOperation,
} from '../../../src/testing/history.ts'
import type { SimulatedHost } from '../../../src/testing/simulated-host.ts'
import { AtomicPairs, PAIRS } from './atomic-pairs.ts'

export interface ApplicationPorts {
  readonly process: number
  readonly cache: Cache
  readonly host: SimulatedHost
  readonly random: SeededRandom
  readonly recorder: HistoryRecorder
  /** Shared by all applications. */
  readonly keys: KeySpace
  readonly thinkMaxMs: number
  readonly timeoutMs: number
  violation(what: string): void
  /** Undefined when nobody reads what is said. */
  readonly say: ((line: string) => void) | undefined
}

/** What may happen to a call while nodes die. All else is a bug of the cluster or of the client. */
const EXPECTED: ReadonlySet<ErrorCode> = new Set([
  'NOT_PRIMARY',
  'NO_ROLE',
  'STALE_EPOCH',
  'NOT_READY',
  'OVERLOADED',
  'NOT_ENOUGH_REPLICAS',
  'UNAVAILABLE',
  'TIMEOUT',
  'OUTCOME_UNKNOWN',
])
/** A call may end this much after its timeout, in milliseconds. */
const LATE_MS = 100

/** Whether nodes answer linearizable reads. Without, only reads of a quiet cluster are noted. */
const LINEARIZABLE_READS: boolean = true

/** The keys of a run, and every value that anybody may have written to them. */
export class KeySpace {
  readonly registers: readonly string[]
  readonly counters: readonly string[]
  readonly #written = new Map<string, Set<number>>()
  #lastValue = 0

  constructor(count: number) {
    this.registers = Array.from({ length: count }, (_, i) => `register-${i}`)
    this.counters = Array.from({ length: Math.max(1, count >> 1) }, (_, i) => `counter-${i}`)
  }

  get all(): readonly string[] {
    return [...this.registers, ...this.counters, ...PAIRS]
  }

  /** A value that nobody has written before. */
  fresh(key: string): number {
    const value = ++this.#lastValue
    const known = this.#written.get(key)
    if (known === undefined) this.#written.set(key, new Set([value]))
    else known.add(value)
    return value
  }

  mayHold(key: string, value: unknown): boolean {
    return value === undefined || (typeof value === 'number' && (this.#written.get(key)?.has(value) ?? false))
  }
}

export class Application {
  readonly #ports: ApplicationPorts
  readonly #pairs: AtomicPairs
  /** By key, the version this application heard of last. */
  readonly #versions = new Map<string, Version>()
  readonly errors: Map<string, number> = new Map()
  operations = 0
  unknown = 0
  weakReads = 0
  stop = false

  constructor(ports: ApplicationPorts) {
    this.#ports = ports
    this.#pairs = new AtomicPairs({
      cache: ports.cache,
      random: ports.random,
      fresh: (pair) => ports.keys.fresh(pair),
      call: (...args) => this.#call(...args),
      violation: (what) => ports.violation(what),
    })
  }

  /** Operates until `enough` says so. */
  async run(enough: () => boolean): Promise<void> {
    while (!enough() && !this.stop) {
      await this.#think()
      await this.#one()
    }
  }

  /** Reads every key, as its last word on it. False while one can't be read. */
  async readAll(): Promise<boolean> {
    let all = true
    for (const key of this.#ports.keys.all) {
      let seen = false
      for (let attempt = 0; attempt < 3 && !seen; attempt++)
        seen = PAIRS.includes(key)
          ? await this.#pairs.read(key)
          : await this.#readNow(key, LINEARIZABLE_READS ? 'linearizable' : 'primary')
      if (!seen) all = false
    }
    return all
  }

  async #one(): Promise<void> {
    const { random, keys } = this.#ports
    const dice = uniform(random)
    if (dice < 0.2) await this.#onCounter(this.#pick(keys.counters))
    else if (dice < 0.25) await this.#weakRead(this.#pick(keys.registers))
    else if (dice < 0.28) await this.#setMany()
    else if (dice < 0.3) await this.#readMany()
    else if (dice < 0.32) await this.#batch()
    else if (dice < 0.47) await this.#pairs.one()
    else await this.#onRegister(this.#pick(keys.registers))
  }

  async #onCounter(key: string): Promise<void> {
    const { cache, random } = this.#ports
    const dice = uniform(random)
    if (dice < 0.7) {
      const by = integerBetween(random, -1, 3)
      await this.#call(key, 'increment', { by }, async () => ({
        value: await (by < 0 ? cache.decrement(key, -by) : cache.increment(key, by)),
      }))
    } else if (dice < 0.95) {
      await this.#read(key)
    } else {
      await this.#call(key, 'delete', {}, async () => ({ existed: await cache.delete(key) }))
    }
  }

  async #onRegister(key: string): Promise<void> {
    const { cache, random, keys } = this.#ports
    const dice = uniform(random)
    const version = this.#versions.get(key)
    if (dice < 0.35) {
      await this.#read(key)
    } else if (dice < 0.55) {
      const value = keys.fresh(key)
      const durability = uniform(random) < 0.1 ? 'all' : 'quorum'
      await this.#call(key, 'set', { value }, async () =>
        this.#told(key, await cache.set(key, value, { durability })),
      )
    } else if (dice < 0.65) {
      const value = keys.fresh(key)
      const when = uniform(random) < 0.6 ? 'absent' : 'present'
      await this.#call(key, 'set', { value, when }, async () =>
        this.#met(key, await cache.set(key, value, { when })),
      )
    } else if (dice < 0.85) {
      if (version === undefined) return void (await this.#read(key))
      const value = keys.fresh(key)
      await this.#call(key, 'cas', { value, version: text(version) }, async () =>
        this.#met(key, await cache.set(key, value, { when: { version } })),
      )
    } else if (dice < 0.95 || version === undefined) {
      const isOneOfMany = uniform(random) < 0.3
      await this.#call(key, 'delete', {}, async () => ({
        existed: isOneOfMany ? (await cache.mdelete([key])) === 1 : await cache.delete(key),
      }))
    } else {
      await this.#call(key, 'delete', { version: text(version) }, async () => ({
        existed: await cache.delete(key, { when: { version } }),
      }))
    }
  }

  async #read(key: string): Promise<void> {
    if (LINEARIZABLE_READS) await this.#readNow(key, 'linearizable')
    else await this.#weakRead(key)
  }

  #readNow(key: string, read: 'linearizable' | 'primary'): Promise<boolean> {
    const { cache, random } = this.#ports
    const perform = async (): Promise<HistoryOutput> => {
      if (uniform(random) < 0.4) return { value: ((await cache.get(key, { read })) ?? null) as number | null }
      const entry = await cache.getEntry(key, { read })
      if (entry === undefined) return { value: null }
      return { value: entry.value as number, ...this.#told(key, entry.version) }
    }
    return this.#call(key, 'get', {}, perform, true)
  }

  /** Promises little, but never what nobody wrote. */
  async #weakRead(key: string): Promise<void> {
    const { cache, keys, random } = this.#ports
    const read = (['primary', 'replica', 'nearest', 'majority'] as const)[
      integerBetween(random, 0, LINEARIZABLE_READS ? 3 : 2)
    ]
    this.operations++
    try {
      const value = await cache.get(key, { read: read ?? 'primary', allowStale: uniform(random) < 0.3 })
      this.weakReads++
      if (key.startsWith('counter')) return
      if (!keys.mayHold(key, value)) this.#ports.violation(`${key} read ${String(value)}, which nobody wrote`)
    } catch (error) {
      this.#noteError(error)
    }
  }

  async #setMany(): Promise<void> {
    const { cache, keys, recorder, process } = this.#ports
    const chosen = keys.registers.slice(0, 2).map((key) => [key, keys.fresh(key)] as const)
    const open = chosen.map(([key, value]) => recorder.begin(process, key, 'set', { value }))
    this.operations += chosen.length
    try {
      const results = await cache.mset(chosen)
      chosen.forEach(([key], i) => {
        const result = results.get(key)
        if (result instanceof CacheError) {
          this.#noteError(result)
          if (result.outcome === 'unknown') open[i]?.unknown()
          else open[i]?.fail()
        } else if (result !== undefined) {
          open[i]?.ok(this.#told(key, result))
        }
      })
    } catch (error) {
      this.#noteError(error)
      for (const one of open) one.unknown()
    }
  }

  async #readMany(): Promise<void> {
    const { cache, keys, recorder, process } = this.#ports
    const chosen = [...keys.registers.slice(0, 2), ...keys.counters.slice(0, 1)]
    const open = chosen.map((key) => recorder.begin(process, key, 'get'))
    this.operations += chosen.length
    try {
      const values = await cache.mget(chosen, { read: 'linearizable' })
      for (const [i, one] of open.entries()) one.ok({ value: (values[i] ?? null) as number | null })
    } catch (error) {
      this.#noteError(error)
      for (const one of open) one.fail()
    }
  }

  async #batch(): Promise<void> {
    const { cache, keys, recorder, process, random } = this.#ports
    const [register, counter] = [this.#pick(keys.registers), this.#pick(keys.counters)]
    const value = keys.fresh(register)
    const open = [
      recorder.begin(process, register, 'set', { value }),
      recorder.begin(process, counter, 'increment', { by: 1 }),
    ]
    this.operations += open.length
    const batch = cache.batch().set(register, value).increment(counter)
    if (uniform(random) < 0.5) batch.has(register)
    const [set, sum] = await batch.execute()
    this.#ended(open[0], set, (version) => this.#told(register, version as Version))
    this.#ended(open[1], sum, (total) => ({ value: total as number }))
  }

  #ended(
    open: OpenOperation | undefined,
    result: BatchResult<unknown> | undefined,
    output: (value: unknown) => HistoryOutput,
  ): void {
    if (result?.ok === true) {
      open?.ok(output(result.value))
      return
    }
    this.#noteError(result?.error)
    if (result?.error.outcome === 'none') open?.fail()
    else open?.unknown()
  }

  /** @returns whether it was answered. */
  async #call(
    key: string,
    op: HistoryOp,
    input: HistoryInput,
    perform: () => Promise<HistoryOutput>,
    isRead = false,
  ): Promise<boolean> {
    const { recorder, process, host, timeoutMs } = this.#ports
    const open = recorder.begin(process, key, op, input)
    const startedMs = host.monotonicMs()
    this.operations++
    const named = (): string => `${op} ${key} ${JSON.stringify(input)}`
    try {
      const output = await perform()
      open.ok(output)
      this.#trace(() => `${named()} -> ${JSON.stringify(output)}`, startedMs)
      return true
    } catch (error) {
      const known = this.#noteError(error)
      this.#trace(() => `${named()} -> ${known?.code} ${known?.message}`, startedMs)
      if (isRead || known?.outcome === 'none') {
        open.fail()
      } else {
        this.unknown++
        open.unknown()
      }
      return false
    } finally {
      const tookMs = host.monotonicMs() - startedMs
      if (tookMs > timeoutMs + LATE_MS)
        this.#ports.violation(`${named()} took ${Math.round(tookMs)} ms; its timeout is ${timeoutMs} ms`)
    }
  }

  #trace(what: () => string, startedMs: number): void {
    const { process, host, say } = this.#ports
    say?.(`client-${process} ${what()} (${(host.monotonicMs() - startedMs).toFixed(1)} ms)`)
  }

  #noteError(error: unknown): CacheError | undefined {
    const known = error instanceof CacheError ? error : undefined
    const code = known?.code ?? 'thrown'
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1)
    if (known === undefined || !EXPECTED.has(known.code))
      this.#ports.violation(`a call ended ${code}: ${error instanceof Error ? error.stack : String(error)}`)
    return known
  }

  #told(key: string, version: Version): HistoryOutput {
    this.#versions.set(key, version)
    return { version: text(version) }
  }

  #met(key: string, result: SetResult<unknown>): HistoryOutput {
    if (result.ok) return { applied: true, ...this.#told(key, result.version) }
    const { current } = result
    if (current === undefined) return { applied: false, found: null }
    this.#versions.set(key, current.version)
    return { applied: false, found: current.value as number, foundVersion: text(current.version) }
  }

  #pick(keys: readonly string[]): string {
    return keys[integerBetween(this.#ports.random, 0, keys.length - 1)] as string
  }

  #think(): Promise<void> {
    const { host, random, thinkMaxMs } = this.#ports
    return new Promise((resolve) => host.after(uniform(random) * thinkMaxMs, resolve))
  }
}

function text(version: Version): string {
  return `${version.partitionEpoch}.${version.sequence}`
}
