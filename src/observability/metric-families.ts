/**
 * Figures of a node at one moment, family by family, and the counters among them that the node keeps itself. Counting is an addition in
 * a map and happens some times a minute; what the hot path counts stays where it is, and is looked at when somebody asks.
 */

import { type CounterName, METRICS, type MetricFacts, type MetricName } from './metrics.ts'

export type Labels = Readonly<Record<string, string>>

export interface MetricSample {
  readonly labels: Labels
  readonly value: number
}

export interface MetricFamily {
  readonly name: string
  readonly type: MetricFacts['type']
  readonly help: string
  readonly samples: readonly MetricSample[]
}

/** Of one counter: more are counted together. */
const SERIES_MAX = 200
const OTHER = 'other'

export class Counters {
  /** By counter, and by its labels. */
  readonly #series = new Map<CounterName, Map<string, { labels: Labels; value: number }>>()

  add(name: CounterName, labels: Labels = {}, by = 1): void {
    const series = this.#series.get(name) ?? new Map()
    this.#series.set(name, series)
    let key = JSON.stringify(labels)
    let kept = labels
    if (!series.has(key) && series.size >= SERIES_MAX) {
      kept = Object.fromEntries(Object.keys(labels).map((label) => [label, OTHER]))
      key = OTHER
    }
    series.set(key, { labels: kept, value: (series.get(key)?.value ?? 0) + by })
  }

  of(name: CounterName): readonly MetricSample[] {
    return [...(this.#series.get(name)?.values() ?? [])]
  }
}

/** Collects samples, and gives them in the order of the catalogue. */
export class FamilyBuilder {
  readonly #samples = new Map<MetricName, MetricSample[]>()

  set(name: MetricName, value: number, labels: Labels = {}): void {
    const samples = this.#samples.get(name) ?? []
    this.#samples.set(name, samples)
    samples.push({ labels, value })
  }

  /** All counters that are kept, from 0 on where it is known which there will be. */
  addAll(counters: Counters, names: readonly CounterName[]): void {
    for (const name of names) {
      const counted = counters.of(name)
      for (const { labels, value } of counted) this.set(name, value, labels)
      for (const labels of known(METRICS[name]))
        if (!counted.some((sample) => isSame(sample.labels, labels))) this.set(name, 0, labels)
    }
  }

  families(): readonly MetricFamily[] {
    return Object.entries(METRICS).flatMap(([name, { type, help }]) => {
      const samples = this.#samples.get(name as MetricName)
      return samples === undefined ? [] : [{ name, type, help, samples }]
    })
  }
}

/** The labels of every series there can be; none where some label has values that nobody knows before. */
function known({ labels }: MetricFacts): Labels[] {
  let all: Labels[] = [{}]
  for (const [label, values] of Object.entries(labels))
    all = all.flatMap((others) => values.map((value) => ({ ...others, [label]: value })))
  return all
}

function isSame(a: Labels, b: Labels): boolean {
  const labels = Object.entries(a)
  return labels.length === Object.keys(b).length && labels.every(([label, value]) => b[label] === value)
}
