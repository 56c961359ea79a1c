/**
 * Decides whether a history is linearizable: whether each operation can be given one moment between its call and its
 * return so that, in the order of those moments, every answer is what one copy of the data would have given.
 *
 * Keys are independent (linearizability is local), so each is decided alone. The search is that of Wing & Gong (1993) with
 * Lowe's memory of configurations seen (2017): take any operation that was called before the first return among those
 * left, go back when nothing fits. Operations of unknown outcome never return, so they could be tried everywhere; it is
 * enough to try one right before an operation that does not fit without it, for otherwise it may as well come later. Reads
 * that fit and change nothing are taken at once.
 *
 * The problem is NP-complete: a search that takes more than its budget of steps ends `undecided`, which proves nothing
 * and must fail a test.
 */

import type { HistoryOperation } from './history.ts'
import { historyLine } from './history.ts'
import { EMPTY_KEY, type KeyState, stateText, step } from './key-model.ts'

export type Verdict = 'linearizable' | 'violation' | 'undecided'

export interface LinearizabilityOptions {
  /** Steps of the search per key; one step applies one operation to one state. Default 2,000,000. */
  readonly stepsMax?: number
}

export interface LinearizabilityReport {
  /** The worst of all keys: a violation, else undecided, else linearizable. */
  readonly verdict: Verdict
  readonly keys: number
  readonly operations: number
  readonly steps: number
  readonly violations: readonly Violation[]
  /** Keys that could not be decided within the budget. */
  readonly undecided: readonly string[]
}

/** Why the history of one key can't be explained. */
export interface Violation {
  readonly key: string
  /** The first operation, by its return, with which the history can't be explained any more. */
  readonly operation: HistoryOperation
  /** What ran beside it, and what was done last before, in the order of the calls; the operation itself included. */
  readonly around: readonly HistoryOperation[]
}

const STEPS_MAX = 2_000_000
const BEFORE_SHOWN = 4

export function checkLinearizability(
  history: Iterable<HistoryOperation>,
  options: LinearizabilityOptions = {},
): LinearizabilityReport {
  const stepsMax = options.stepsMax ?? STEPS_MAX
  const byKey = new Map<string, HistoryOperation[]>()
  let operations = 0
  for (const operation of history) {
    operations++
    const known = byKey.get(operation.key)
    if (known === undefined) byKey.set(operation.key, [operation])
    else known.push(operation)
  }
  const violations: Violation[] = []
  const undecided: string[] = []
  let steps = 0
  for (const [key, own] of byKey) {
    const search = new Search(own, stepsMax)
    const verdict = search.run()
    steps += search.steps
    if (verdict === 'undecided') undecided.push(key)
    else if (verdict === 'violation') violations.push(explain(key, own, stepsMax))
  }
  const verdict = violations.length > 0 ? 'violation' : undecided.length > 0 ? 'undecided' : 'linearizable'
  return { verdict, keys: byKey.size, operations, steps, violations, undecided }
}

/** A violation in lines for people: the operation that does not fit, marked, among those around it. */
export function describeViolation(violation: Violation): string {
  const lines = violation.around.map(
    (operation) => `${operation === violation.operation ? '  > ' : '    '}${historyLine(operation)}`,
  )
  return [`key ${JSON.stringify(violation.key)} can't be explained from here on:`, ...lines].join('\n')
}

/** One way on from a configuration: operations nobody heard of, then one that was answered. */
interface Move {
  readonly definite: number
  /** Classes of `#unknowns`, one for each operation used. */
  readonly classes: readonly number[]
  readonly after: KeyState
}

interface Frame {
  readonly state: KeyState
  moves: Move[]
  next: number
  /** Moves that need operations of unknown outcome were added. */
  widened: boolean
}

/** Operations of unknown outcome that do the same are interchangeable: the one called first is used first. */
interface UnknownClass {
  readonly operations: readonly HistoryOperation[]
  used: number
}

class Search {
  /** Answered operations, in the order of their calls. */
  readonly #definite: readonly HistoryOperation[]
  readonly #unknowns: UnknownClass[] = []
  readonly #done: Uint8Array
  #doneCount = 0
  /** The first answered operation that has no moment yet. */
  #frontier = 0
  readonly #seen = new Set<string>()
  readonly #stepsMax: number
  steps = 0

  constructor(operations: readonly HistoryOperation[], stepsMax: number) {
    const sorted = [...operations].sort((a, b) => a.call - b.call)
    this.#definite = sorted.filter((operation) => operation.outcome === 'ok')
    this.#done = new Uint8Array(this.#definite.length)
    this.#stepsMax = stepsMax
    const classes = new Map<string, HistoryOperation[]>()
    for (const operation of sorted) {
      if (operation.outcome !== 'unknown' || operation.op === 'get') continue
      const name = `${operation.op} ${JSON.stringify(operation.input)}`
      const known = classes.get(name)
      if (known === undefined) classes.set(name, [operation])
      else known.push(operation)
    }
    for (const same of classes.values()) this.#unknowns.push({ operations: same, used: 0 })
  }

  run(): Verdict {
    const frames: Frame[] = [this.#frame(EMPTY_KEY)]
    const path: Move[] = []
    for (;;) {
      if (this.#doneCount === this.#definite.length) return 'linearizable'
      if (this.steps > this.#stepsMax) return 'undecided'
      const frame = frames.at(-1)
      if (frame === undefined) return 'violation'
      const move = this.#nextMove(frame)
      if (move === undefined) {
        frames.pop()
        const last = path.pop()
        if (last !== undefined) this.#undo(last)
        continue
      }
      this.#apply(move)
      const name = this.#configuration(move.after)
      if (this.#seen.has(name)) {
        this.#undo(move)
        continue
      }
      this.#seen.add(name)
      path.push(move)
      frames.push(this.#frame(move.after))
    }
  }

  #frame(state: KeyState): Frame {
    const moves: Move[] = []
    for (const definite of this.#candidates()) {
      this.steps++
      const after = step(state, this.#definite[definite] as HistoryOperation)
      if (after === undefined) continue
      const move = { definite, classes: [], after }
      // It fits and changes nothing: whatever comes next may as well come after it.
      if (after === state) return { state, moves: [move], next: 0, widened: true }
      moves.push(move)
    }
    return { state, moves, next: 0, widened: false }
  }

  #nextMove(frame: Frame): Move | undefined {
    if (frame.next === frame.moves.length && !frame.widened) {
      frame.widened = true
      frame.next = 0
      frame.moves = this.#wideMoves(frame.state)
    }
    return frame.moves[frame.next++]
  }

  /** Operations that can come next: those called before the first return of all that are left. */
  #candidates(): number[] {
    const found: number[] = []
    let firstReturn = Number.POSITIVE_INFINITY
    for (let i = this.#frontier; i < this.#definite.length; i++) {
      if (this.#done[i] === 1) continue
      const { call, return: returned } = this.#definite[i] as HistoryOperation
      if (call > firstReturn) break
      if (returned !== null && returned < firstReturn) firstReturn = returned
      found.push(i)
    }
    return found
  }

  /** Moves to answered operations that fit only after some whose outcome nobody knows. */
  #wideMoves(state: KeyState): Move[] {
    const moves: Move[] = []
    const candidates = this.#candidates()
    const lost = candidates.filter((i) => step(state, this.#definite[i] as HistoryOperation) === undefined)
    if (lost.length === 0) return moves
    let untilCall = Number.POSITIVE_INFINITY
    for (const i of candidates) untilCall = Math.min(untilCall, this.#definite[i]?.return ?? untilCall)
    // Breadth first: few of them are better than many, which may be needed later.
    let chains: { classes: readonly number[]; state: KeyState }[] = [{ classes: [], state }]
    const reached = new Set<string>()
    while (chains.length > 0) {
      const longer: typeof chains = []
      for (const chain of chains) {
        for (const [index, unknown] of this.#unknowns.entries()) {
          const used = unknown.used + count(chain.classes, index)
          const operation = unknown.operations[used]
          if (operation === undefined || operation.call > untilCall) continue
          // What overwrites whatever was there makes those before it useless.
          if (chain.classes.length > 0 && overwrites(operation)) continue
          this.steps++
          if (this.steps > this.#stepsMax) return moves
          const after = step(chain.state, operation)
          if (after === undefined || after === chain.state) continue
          const classes = [...chain.classes, index]
          const name = `${[...classes].sort().join()} ${stateText(after)}`
          if (reached.has(name)) continue
          reached.add(name)
          longer.push({ classes, state: after })
          for (const definite of lost) {
            this.steps++
            const end = step(after, this.#definite[definite] as HistoryOperation)
            if (end !== undefined) moves.push({ definite, classes, after: end })
          }
        }
      }
      chains = longer
    }
    return moves
  }

  #apply(move: Move): void {
    this.#done[move.definite] = 1
    this.#doneCount++
    while (this.#done[this.#frontier] === 1) this.#frontier++
    for (const index of move.classes) (this.#unknowns[index] as UnknownClass).used++
  }

  #undo(move: Move): void {
    this.#done[move.definite] = 0
    this.#doneCount--
    this.#frontier = Math.min(this.#frontier, move.definite)
    for (const index of move.classes) (this.#unknowns[index] as UnknownClass).used--
  }

  /** Names what has its moment by now and the state it left. */
  #configuration(state: KeyState): string {
    let name = `${this.#frontier}`
    let counted = this.#frontier
    for (let i = this.#frontier; counted < this.#doneCount; i++) {
      if (this.#done[i] === 0) continue
      counted++
      name += `,${i}`
    }
    for (const [index, { used }] of this.#unknowns.entries()) if (used > 0) name += `;${index}*${used}`
    return `${name} ${stateText(state)}`
  }
}

/** What is there before makes no difference to what is there after. */
function overwrites({ op, input }: HistoryOperation): boolean {
  if (op === 'set') return input.when === undefined
  return op === 'delete' && input.version === undefined
}

function count(list: readonly number[], value: number): number {
  let found = 0
  for (const one of list) if (one === value) found++
  return found
}

/** Finds the first return after which the history can't be explained, and shows what happened around it. */
function explain(key: string, operations: readonly HistoryOperation[], stepsMax: number): Violation {
  const answered = operations
    .filter((operation) => operation.outcome === 'ok')
    .sort((a, b) => (a.return ?? 0) - (b.return ?? 0))
  let low = 0
  let high = answered.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    const prefix = until(operations, answered[middle]?.return ?? 0)
    if (new Search(prefix, stepsMax).run() === 'violation') high = middle
    else low = middle + 1
  }
  const operation = answered[low] as HistoryOperation
  const end = operation.return ?? Number.POSITIVE_INFINITY
  const beside = operations.filter(
    (other) =>
      other.outcome !== 'fail' &&
      other.call <= end &&
      (other.outcome === 'unknown' || (other.return ?? 0) >= operation.call),
  )
  const before = answered.filter((other) => (other.return ?? 0) < operation.call).slice(-BEFORE_SHOWN)
  const around = [...new Set([...before, ...beside])].sort((a, b) => a.call - b.call)
  return { key, operation, around }
}

/** The history as it stood at `time`: what had not returned by then is unknown. */
function until(operations: readonly HistoryOperation[], time: number): HistoryOperation[] {
  const seen: HistoryOperation[] = []
  for (const operation of operations) {
    if (operation.call > time) continue
    if (operation.outcome === 'ok' && (operation.return ?? 0) > time)
      seen.push({ ...operation, outcome: 'unknown', output: {}, return: null })
    else seen.push(operation)
  }
  return seen
}
