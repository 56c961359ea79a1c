/**
 * Figures in the text format of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/), by prom-client. A registry
 * lives for one text only: what is counted is counted elsewhere, and nothing of the package's own metrics, timers or clocks is used.
 */

import { Counter, Gauge, Registry } from 'prom-client'
import type { MetricFamily } from '../../observability/metric-families.ts'

/** @param families each name once */
export function prometheusText(families: readonly MetricFamily[]): Promise<string> {
  const registry = new Registry()
  for (const { name, type, help, samples } of families) {
    const labelNames = [...new Set(samples.flatMap(({ labels }) => Object.keys(labels)))]
    const options = { name, help, labelNames, registers: [registry] }
    if (type === 'counter') {
      const counter = new Counter(options)
      for (const { labels, value } of samples) counter.inc(labels, value)
    } else {
      const gauge = new Gauge(options)
      for (const { labels, value } of samples) gauge.set(labels, value)
    }
  }
  return registry.metrics()
}
