/** Histories for tests of the checker: recorded from one real copy of the data, and checked by trying everything. */

import type { HistoryInput, HistoryOp, HistoryOperation, HistoryValue } from '../../src/testing/history.ts'
import { EMPTY_KEY, type KeyState, step } from '../../src/testing/key-model.ts'

/** What a generator draws for one operation. */
export interface DrawnOperation {
  readonly op: HistoryOp
  readonly value: number
  readonly choice: number
  /** When it takes effect, and how long before and after it is called and returns. */
  readonly at: number
  readonly before: number
  readonly behind: number
  /** unknown: nobody hears of it; lost: nor does it happen. */
  readonly fate: 'ok' | 'unknown' | 'lost'
}

interface Copy {
  value: HistoryValue
  sequence: number
}

/** What clients of one atomic register see: its operations happen in the order of `at`. */
export function recordFromRegister(drawn: readonly DrawnOperation[], key = 'k'): HistoryOperation[] {
  const copy: Copy = { value: null, sequence: 0 }
  const versions: string[] = []
  const ordered = [...drawn].sort((a, b) => a.at - b.at)
  return ordered.map((one, index) => {
    const times = { call: one.at - one.before, return: one.at + one.behind }
    const input = inputOf(one, versions)
    const start = { process: index, key, op: one.op, input, ...times }
    if (one.fate === 'lost') return { ...start, output: {}, return: null, outcome: 'unknown' as const }
    const output = perform(copy, one.op, input)
    if (output.version !== undefined) versions.push(output.version)
    if (one.fate === 'unknown') return { ...start, output: {}, outcome: 'unknown' as const }
    return { ...start, output, outcome: 'ok' as const }
  })
}

function inputOf(one: DrawnOperation, versions: readonly string[]): HistoryInput {
  const { op, value, choice } = one
  if (op === 'set') {
    if (choice % 3 === 0) return { value, when: 'absent' }
    return choice % 3 === 1 ? { value, when: 'present' } : { value }
  }
  if (op === 'cas') {
    const version = versions[choice % Math.max(1, versions.length)]
    return version === undefined || choice % 2 === 0 ? { value, expected: choice % 4 } : { value, version }
  }
  if (op === 'delete') {
    const version = versions[choice % Math.max(1, versions.length)]
    return version === undefined || choice % 2 === 0 ? {} : { version }
  }
  return op === 'increment' ? { by: (choice % 3) + 1 } : {}
}

function perform(copy: Copy, op: HistoryOp, input: HistoryInput): HistoryOperation['output'] {
  const version = `1.${copy.sequence}`
  const present = copy.value !== null
  if (op === 'get') return present ? { value: copy.value, version } : { value: null }
  if (op === 'delete') {
    const existed = present && (input.version === undefined || input.version === version)
    if (existed) copy.value = null
    return { existed }
  }
  if (op === 'increment') {
    copy.sequence++
    copy.value = Number(copy.value ?? 0) + (input.by ?? 1)
    return { value: copy.value }
  }
  const holds =
    input.when !== undefined
      ? (input.when === 'present') === present
      : input.version !== undefined
        ? present && input.version === version
        : op === 'set' || copy.value === input.expected
  if (!holds) return { applied: false, found: copy.value }
  copy.sequence++
  copy.value = input.value ?? null
  return { applied: true, version: `1.${copy.sequence}` }
}

/** Tries every order of the answered operations with every choice and place of the unknown ones. */
export function bruteForce(history: readonly HistoryOperation[]): boolean {
  const operations = history.filter((one) => one.outcome !== 'fail')
  const search = (left: readonly HistoryOperation[], state: KeyState): boolean => {
    if (left.every((one) => one.outcome === 'unknown')) return true
    return left.some((one) => {
      const tooEarly = left.some(
        (other) => other.outcome === 'ok' && other !== one && (other.return ?? 0) < one.call,
      )
      if (tooEarly) return false
      const after = step(state, one)
      return (
        after !== undefined &&
        search(
          left.filter((other) => other !== one),
          after,
        )
      )
    })
  }
  return search(operations, EMPTY_KEY)
}
