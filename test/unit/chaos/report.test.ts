import { describe, expect, it } from 'vitest'
import type { Samples, WorkloadResult } from '../../chaos/client/messages.ts'
import { type ChaosReport, makeReport, type RunRecord, renderReport } from '../../chaos/report/report.ts'

const samples: Samples = {
  dueMs: Float64Array.of(0, 10, 20, 2_000),
  endMs: Float64Array.of(1, 11, 21, 2_001),
  outcome: Uint8Array.of(0, 0, 0, 0),
  group: new Uint8Array(4),
  errors: {},
}

const client: WorkloadResult = {
  operations: 3,
  unknown: 0,
  failed: 0,
  codes: {},
  samples,
  ledger: { acknowledged: 2, unknown: 0, refused: 0, staleReads: [] },
  problems: [],
}

const clean: RunRecord = {
  seed: 1,
  nodes: 3,
  seconds: 3,
  network: 'proxy',
  read: 'linearizable',
  safety: '',
  faults: [{ name: 'kill', what: 'node1', startMs: 5, endMs: 6, safeMs: 7, problem: undefined }],
  leftOut: {},
  clients: [client],
  ledger: [{ checked: 2, lost: [], unread: [] }],
  history: {
    rule: '',
    verdict: 'linearizable',
    operations: 3,
    keys: 1,
    steps: 3,
    undecided: [],
    violations: [],
    staleReads: 0,
  },
  surprises: [],
  problems: [],
  stallMs: 250,
  strict: false,
}

function failures(change: Partial<RunRecord>): ChaosReport['failures'] {
  return makeReport({ ...clean, ...change }).failures
}

describe('a chaos run', () => {
  it('passes when nothing was lost and all could be decided', () => {
    const report = makeReport(clean)
    expect(report.failures).toEqual([])
    expect(renderReport(report)).toContain('PASSED')
  })

  it.each<[string, Partial<RunRecord>]>([
    ['an acknowledged write is lost', { ledger: [{ checked: 2, lost: ['ledger-0-1'], unread: [] }] }],
    ['one cannot be read in the end', { ledger: [{ checked: 2, lost: [], unread: ['ledger-0-1'] }] }],
    ['the history is not linearizable', { history: { ...clean.history, verdict: 'violation' } }],
    ['the history is undecided', { history: { ...clean.history, verdict: 'undecided', undecided: ['k'] } }],
    ['nothing was checked', { history: { ...clean.history, operations: 0 } }],
    ['a node ended by itself', { surprises: ['node1 ended by itself'] }],
    [
      'a linearizable read was stale',
      { clients: [{ ...client, ledger: { ...client.ledger, staleReads: ['ledger-0-1'] } }] },
    ],
    [
      'the cluster did not heal',
      { faults: [{ name: 'kill', what: '', startMs: 5, endMs: 6, safeMs: undefined, problem: 'not whole' }] },
    ],
    [
      'more than 1 % of the outcomes outside faults are unknown',
      { clients: [{ ...client, samples: { ...samples, outcome: Uint8Array.of(0, 0, 0, 2) } }] },
    ],
  ])('fails when %s', (_, change) => {
    expect(failures(change)).toHaveLength(1)
  })

  it('fails on any error in a strict run only', () => {
    const clients = [{ ...client, codes: { CLOSED: 1 } }]
    expect(failures({ clients })).toEqual([])
    expect(failures({ clients, strict: true })).toEqual(['clients saw 1 errors'])
  })
})
