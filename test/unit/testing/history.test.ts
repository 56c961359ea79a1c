import { describe, expect, it } from 'vitest'
import { HistoryRecorder, historyLine, parseHistory } from '../../../src/testing/history.ts'

describe('histories as lines of JSON', () => {
  it('are written in the documented form and read back', () => {
    let now = 1000
    const recorder = new HistoryRecorder(() => now)
    const cas = recorder.begin(3, 'k1', 'cas', { value: 'b', version: '1.4' })
    const lost = recorder.begin(4, 'k1', 'get')
    now = 2500
    cas.ok({ applied: true, version: '1.5' })
    lost.unknown()
    recorder.begin(5, 'k2', 'set', { value: 1 }).fail()
    const pending = recorder.begin(6, 'k2', 'increment', { by: 2 })
    expect(recorder.pending).toBe(1)
    recorder.close()
    pending.ok({ value: 2 })
    const lines = recorder.operations.map(historyLine)
    expect(lines).toEqual([
      '{"process":3,"key":"k1","op":"cas","input":{"value":"b","version":"1.4"},"output":{"applied":true,"version":"1.5"},"call":1000,"return":2500,"outcome":"ok"}',
      '{"process":4,"key":"k1","op":"get","input":{},"output":{},"call":1000,"return":2500,"outcome":"unknown"}',
      '{"process":5,"key":"k2","op":"set","input":{"value":1},"output":{},"call":2500,"return":2500,"outcome":"fail"}',
      '{"process":6,"key":"k2","op":"increment","input":{"by":2},"output":{},"call":2500,"return":null,"outcome":"unknown"}',
    ])
    expect(parseHistory(`${lines.join('\n')}\n`)).toEqual(recorder.operations)
  })

  it('can be handed on one by one', () => {
    const seen: string[] = []
    const recorder = new HistoryRecorder(
      () => 0,
      (operation) => seen.push(operation.op),
    )
    recorder.begin(1, 'k', 'delete').ok({ existed: false })
    expect(seen).toEqual(['delete'])
    expect(recorder.operations).toEqual([])
  })

  it.each([
    ['{', 'not JSON'],
    ['[]', 'not an object'],
    [
      '{"process":1,"key":"k","op":"put","input":{},"output":{},"call":1,"return":2,"outcome":"ok"}',
      'op must',
    ],
    [
      '{"process":1,"key":"k","op":"get","input":{},"output":{},"call":5,"return":2,"outcome":"ok"}',
      'return',
    ],
    [
      '{"process":1,"key":"k","op":"get","input":{},"output":{},"call":1,"return":null,"outcome":"ok"}',
      'needs',
    ],
    [
      '{"process":1,"key":"k","op":"get","input":{},"output":{},"call":1,"return":2,"outcome":"?"}',
      'outcome',
    ],
    [
      '{"process":1.5,"key":"k","op":"get","input":{},"output":{},"call":1,"return":2,"outcome":"ok"}',
      'process',
    ],
  ])('%s is refused, by its line', (line, what) => {
    expect(() => parseHistory(`\n${line}`)).toThrow(new RegExp(`^line 2 of the history: .*${what}`))
  })
})
