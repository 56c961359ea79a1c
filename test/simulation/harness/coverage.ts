/** What runs met. A batch in which something never happened has shown nothing about it. */

import type { NodeCore } from '../../../src/node/node-core.ts'

export interface Coverage {
  operations: number
  unknown: number
  errors: number
  faults: number
  kills: number
  restarts: number
  epochs: number
  takeovers: number
  shrinks: number
  learners: number
  promotions: number
  settled: number
  blocked: number
  recovered: number
  answeredFromTable: number
  weakReads: number
  checks: number
  events: number
  virtualMs: number
  checkerSteps: number
}

/** Retries that this process answered with what it kept of the first attempt. */
export function answeredFromTable(core: NodeCore | undefined): number {
  return core?.dataPlane?.replicator.primary.answeredFromTable ?? 0
}

export type Counter = keyof Coverage

export function noCoverage(): Coverage {
  return {
    operations: 0,
    unknown: 0,
    errors: 0,
    faults: 0,
    kills: 0,
    restarts: 0,
    epochs: 0,
    takeovers: 0,
    shrinks: 0,
    learners: 0,
    promotions: 0,
    settled: 0,
    blocked: 0,
    recovered: 0,
    answeredFromTable: 0,
    weakReads: 0,
    checks: 0,
    events: 0,
    virtualMs: 0,
    checkerSteps: 0,
  }
}

export function addCoverage(sum: Coverage, more: Coverage): void {
  for (const name of Object.keys(sum) as Counter[]) sum[name] += more[name]
}

const NEEDED: readonly Counter[] = [
  'takeovers',
  'shrinks',
  'blocked',
  'answeredFromTable',
  'learners',
  'kills',
]

/** What a batch has to meet and did not. */
export function missingCoverage(sum: Coverage): Counter[] {
  return NEEDED.filter((name) => sum[name] === 0)
}
