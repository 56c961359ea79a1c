/**
 * Pairs of keys that are written together or not at all. To whoever looks at either half a pair is one register, or one counter: so
 * its history is that of one key, and an atomic group that happened by half shows as an answer that can't be explained.
 */

import type { AtomicResult } from '../../../src/client/atomic.ts'
import type { Cache } from '../../../src/client/cache.ts'
import type { Version } from '../../../src/kernel/ids.ts'
import { integerBetween, type SeededRandom, uniform } from '../../../src/kernel/random.ts'
import type { HistoryInput, HistoryOp, HistoryOutput, HistoryValue } from '../../../src/testing/history.ts'

export interface PairPorts {
  readonly cache: Cache
  readonly random: SeededRandom
  /** A value that nobody has written before. */
  fresh(pair: string): number
  /** Performs an operation and notes it. */
  call(
    pair: string,
    op: HistoryOp,
    input: HistoryInput,
    perform: () => Promise<HistoryOutput>,
    isRead?: boolean,
  ): Promise<boolean>
  violation(what: string): void
}

/** The name of a pair is its hash tag, so that both halves lie in one partition. */
export const PAIRS: readonly string[] = ['{pair}', '{sum}']

type Half = Version | boolean | number

export class AtomicPairs {
  readonly #ports: PairPorts
  /** What this application was told last of the register. */
  #value: HistoryValue = null
  /** A version of its first half, and the value that stood there: nobody writes a value twice. */
  #seen: { readonly version: Version; readonly value: HistoryValue } | undefined

  constructor(ports: PairPorts) {
    this.#ports = ports
  }

  async one(): Promise<void> {
    const dice = uniform(this.#ports.random)
    if (dice < 0.35) await this.#onSum()
    else if (dice < 0.55) await this.read('{pair}')
    else if (dice < 0.7) await this.#set()
    else if (dice < 0.85) await this.#compareAndSet()
    else if (dice < 0.93) await this.#compareVersionAndSet()
    else await this.#delete('{pair}')
  }

  /** Reads a half: either will do. */
  read(pair: string): Promise<boolean> {
    const { cache, random, call } = this.#ports
    const isFirst = uniform(random) < 0.5
    return call(
      pair,
      'get',
      {},
      async () => {
        const entry = await cache.getEntry(isFirst ? first(pair) : second(pair), { read: 'linearizable' })
        const value = (entry?.value ?? null) as HistoryValue
        if (pair === '{pair}') {
          this.#value = value
          if (isFirst && entry !== undefined) this.#seen = { version: entry.version, value }
        }
        return { value }
      },
      true,
    )
  }

  async #onSum(): Promise<void> {
    const { cache, random, call } = this.#ports
    const dice = uniform(random)
    const pair = '{sum}'
    if (dice < 0.35) return void (await this.read(pair))
    if (dice < 0.4) return this.#delete(pair)
    const by = integerBetween(random, 1, 3)
    await call(pair, 'increment', { by }, async () => {
      const group = cache.atomic().increment(first(pair), by).increment(second(pair), by)
      return { value: this.#agreed(pair, await group.execute()) as number }
    })
  }

  async #set(): Promise<void> {
    const pair = '{pair}'
    const value = this.#ports.fresh(pair)
    await this.#ports.call(pair, 'set', { value }, async () => {
      const group = this.#ports.cache.atomic().set(first(pair), value).set(second(pair), value)
      return this.#written(value, await group.execute())
    })
  }

  async #compareAndSet(): Promise<void> {
    const pair = '{pair}'
    const value = this.#ports.fresh(pair)
    const expected = this.#value
    await this.#ports.call(pair, 'cas', { value, expected }, async () => {
      const check = expected === null ? 'absent' : { value: expected }
      const group = this.#ports.cache.atomic().check(first(pair), check).check(second(pair), check)
      return this.#written(value, await group.set(first(pair), value).set(second(pair), value).execute())
    })
  }

  async #compareVersionAndSet(): Promise<void> {
    const pair = '{pair}'
    if (this.#seen === undefined) return void (await this.read(pair))
    const value = this.#ports.fresh(pair)
    const { version, value: expected } = this.#seen
    await this.#ports.call(pair, 'cas', { value, expected }, async () => {
      const group = this.#ports.cache.atomic().check(first(pair), { version })
      return this.#written(value, await group.set(second(pair), value).set(first(pair), value).execute())
    })
  }

  async #delete(pair: string): Promise<void> {
    const { cache, call } = this.#ports
    await call(pair, 'delete', {}, async () => {
      const group = cache.atomic().delete(first(pair)).delete(second(pair))
      return { existed: this.#agreed(pair, await group.execute()) as boolean }
    })
  }

  #written(value: number, result: AtomicResult): HistoryOutput {
    if (!result.ok) {
      if (result.failedCheck !== 0)
        this.#ports.violation(`the second half of {pair} differs: check ${result.failedCheck} failed`)
      return { applied: false }
    }
    this.#value = value
    return { applied: true }
  }

  /** What both halves came to. */
  #agreed(pair: string, result: AtomicResult): Half {
    if (!result.ok) throw new Error(`a group without checks failed at ${result.failedCheck}`)
    const [one, two] = result.results
    if (one !== two)
      this.#ports.violation(`the halves of ${pair} came to ${String(one)} and ${String(two)} together`)
    return one as Half
  }
}

function first(pair: string): string {
  return `${pair}:a`
}

function second(pair: string): string {
  return `${pair}:b`
}
