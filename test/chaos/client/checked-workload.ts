/**
 * Workers on few hot keys: each makes one operation at a time and notes what it asked and was told, for the linearizability
 * checker. Every value is written once in a run. After an unknown outcome a worker goes on as a new process of the history, for
 * its last operation has not ended.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Cache } from '../../../src/client/cache.ts'
import type { CacheError } from '../../../src/kernel/errors.ts'
import type { Version } from '../../../src/kernel/ids.ts'
import { type Random, SeededRandom, uniform } from '../../../src/kernel/random.ts'
import type { HistoryInput, HistoryOp, HistoryOutput, HistoryRecorder } from '../../../src/testing/history.ts'
import { nowNs } from '../monotonic.ts'
import { type HotKey, HotKeys } from './hot-keys.ts'
import type { ReadMode, WorkloadSettings } from './messages.ts'

/** Process numbers of one client are apart from those of the next by this. */
const PROCESSES_PER_CLIENT = 1_000_000

type Step = readonly [op: HistoryOp, input: HistoryInput, run: () => Promise<HistoryOutput>]

export class CheckedWorkload {
  readonly #cache: Cache
  readonly #recorder: HistoryRecorder
  readonly #settings: WorkloadSettings
  readonly #random: Random
  readonly #hot: HotKeys
  readonly #read: ReadMode
  readonly #client: number
  #nextProcess: number
  #values = 0
  #stopping = false
  #workers: readonly Promise<void>[] = []
  readonly codes: Map<string, number> = new Map()
  /** Errors that no operation may end in. */
  readonly problems: string[] = []
  operations = 0
  unknown = 0
  failed = 0

  constructor(
    cache: Cache,
    recorder: HistoryRecorder,
    settings: WorkloadSettings,
    parts: { readonly client: number; readonly seed: number; readonly read: ReadMode },
  ) {
    this.#cache = cache
    this.#recorder = recorder
    this.#settings = settings
    this.#client = parts.client
    this.#read = parts.read
    this.#random = new SeededRandom(parts.seed + parts.client)
    this.#hot = new HotKeys(settings.hotKeys, settings.periodMs, settings.startNs)
    this.#nextProcess = parts.client * PROCESSES_PER_CLIENT
  }

  start(): void {
    this.#workers = Array.from({ length: this.#settings.workers }, () => this.#work())
  }

  /** Resolves once what is under way has ended. */
  async stop(): Promise<void> {
    this.#stopping = true
    await Promise.all(this.#workers)
  }

  async #work(): Promise<void> {
    let process = this.#nextProcess++
    while (!this.#stopping) {
      await sleep(2 * this.#settings.thinkMs * uniform(this.#random))
      const hot = this.#hot.choose(this.#random, nowNs())
      if (hot === undefined) continue
      const [op, input, run] = this.#step(hot)
      const operation = this.#recorder.begin(process, hot.key, op, input)
      this.operations++
      try {
        operation.ok(await run())
      } catch (error) {
        const { code, outcome } = error as Partial<CacheError>
        this.codes.set(String(code), (this.codes.get(String(code)) ?? 0) + 1)
        if (outcome === 'none') {
          operation.fail()
          this.failed++
        } else {
          // Of an error that is none of ours nothing is known, either.
          if (code !== 'OUTCOME_UNKNOWN') this.problems.push(`${op} of ${hot.key}: ${String(error)}`)
          operation.unknown()
          this.unknown++
          hot.unknowns++
          process = this.#nextProcess++
        }
      }
    }
  }

  #step(hot: HotKey): Step {
    const dice = uniform(this.#random)
    if (dice < 0.4) return this.#get(hot)
    if (dice < 0.45) return this.#delete(hot)
    if (hot.kind === 'counter') return this.#increment(hot)
    if (dice < 0.65) return this.#compareAndSet(hot)
    if (dice < 0.72) return this.#setIf(hot, dice < 0.69 ? 'absent' : 'present')
    return this.#set(hot)
  }

  #get(hot: HotKey): Step {
    return [
      'get',
      {},
      async () => {
        const entry = await this.#cache.getEntry(hot.key, { read: this.#read as 'primary' })
        hot.version = entry?.version
        if (entry === undefined) return { value: null }
        return { value: entry.value as string | number, version: versionText(entry.version) }
      },
    ]
  }

  #set(hot: HotKey): Step {
    const value = this.#nextValue()
    return [
      'set',
      { value },
      async () => {
        hot.version = await this.#cache.set(hot.key, value)
        return { version: versionText(hot.version) }
      },
    ]
  }

  #setIf(hot: HotKey, when: 'absent' | 'present'): Step {
    const value = this.#nextValue()
    return ['set', { value, when }, () => this.#conditional(hot, value, when)]
  }

  #compareAndSet(hot: HotKey): Step {
    const { version } = hot
    if (version === undefined) return this.#get(hot)
    const value = this.#nextValue()
    return ['cas', { value, version: versionText(version) }, () => this.#conditional(hot, value, { version })]
  }

  async #conditional(
    hot: HotKey,
    value: string,
    when: 'absent' | 'present' | { readonly version: Version },
  ): Promise<HistoryOutput> {
    const result = await this.#cache.set(hot.key, value, { when })
    if (result.ok) {
      hot.version = result.version
      return { applied: true, version: versionText(result.version) }
    }
    const { current } = result
    hot.version = current?.version
    if (current === undefined) return { applied: false, found: null }
    return {
      applied: false,
      found: current.value as string | number,
      foundVersion: versionText(current.version),
    }
  }

  #delete(hot: HotKey): Step {
    return [
      'delete',
      {},
      async () => {
        const existed = await this.#cache.delete(hot.key)
        hot.version = undefined
        return { existed }
      },
    ]
  }

  #increment(hot: HotKey): Step {
    const by = 1 + Math.floor(4 * uniform(this.#random))
    return ['increment', { by }, async () => ({ value: await this.#cache.increment(hot.key, by) })]
  }

  #nextValue(): string {
    return `${this.#client}.${this.#values++}`
  }
}

function versionText({ partitionEpoch, sequence }: Version): string {
  return `${partitionEpoch}.${sequence}`
}
