/**
 * Virtual time: a clock and a scheduler on which a whole cluster runs in one process, deterministically.
 *
 * Tasks run in the order of their due time, and of their arming where that is equal. Between two tasks all promise
 * continuations are drained (`process.nextTick` runs once none is left), then the end-of-turn tasks, until nothing is
 * left: so code with promises runs as it would in Node.js, but in one fixed order. Now and then a real turn of the event
 * loop lets the process hear of what is outside.
 */

import type { Clock } from '../kernel/clock.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'

/** Wall-clock time at which every run starts: 2024-01-01T00:00:00Z. */
const VIRTUAL_EPOCH_MS = 1_704_067_200_000

/** Events between two real turns of the event loop. */
const EVENTS_PER_TURN = 2000

export interface VirtualTimer extends Timer {
  readonly cancelled: boolean
}

export interface Runnable {
  run(): void
}

class Task implements VirtualTimer {
  readonly dueMs: number
  readonly order: number
  readonly what: Runnable
  cancelled = false

  constructor(dueMs: number, order: number, what: Runnable) {
    this.dueMs = dueMs
    this.order = order
    this.what = what
  }

  cancel(): void {
    this.cancelled = true
  }
}

export class VirtualTime implements Clock, Scheduler {
  #nowMs = 0
  #order = 0
  readonly #heap: Task[] = []
  #endOfTurn: Runnable[] = []
  /** Events that ran. */
  events = 0
  /** Called after each task and what it caused: where invariants are checked. */
  afterEvent: (() => void) | undefined

  monotonicMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return VIRTUAL_EPOCH_MS + this.#nowMs
  }

  after(delayMs: number, run: () => void): VirtualTimer {
    return this.arm(delayMs, { run })
  }

  /** As `after`, for those who make an object of what is to run. */
  arm(delayMs: number, what: Runnable): VirtualTimer {
    const task = new Task(this.#nowMs + Math.max(0, delayMs), this.#order++, what)
    this.#push(task)
    return task
  }

  endOfTurn(run: () => void): void {
    this.armEndOfTurn({ run })
  }

  armEndOfTurn(what: Runnable): void {
    this.#endOfTurn.push(what)
  }

  nextTurn(task: () => void): void {
    this.after(0, task)
  }

  /** Tasks that are armed and not cancelled. */
  get pending(): number {
    return this.#heap.reduce((count, task) => count + (task.cancelled ? 0 : 1), 0)
  }

  /** Runs everything due within the next `durationMs`, then stands exactly there. */
  async advance(durationMs: number): Promise<void> {
    const untilMs = this.#nowMs + durationMs
    await this.#settle()
    for (;;) {
      const task = this.#heap[0]
      if (task === undefined || task.dueMs > untilMs) break
      if (!this.#runNext()) continue
      await this.#settle()
      this.afterEvent?.()
    }
    this.#nowMs = untilMs
  }

  /**
   * Runs until `promise` settles and returns its value.
   * @throws Error when `limitMs` of virtual time pass first, or nothing is left that could settle it.
   */
  async until<T>(promise: Promise<T>, limitMs = 60_000): Promise<T> {
    let settled = false
    const watched = promise.finally(() => {
      settled = true
    })
    watched.catch(() => {})
    const untilMs = this.#nowMs + limitMs
    await this.#settle()
    while (!settled) {
      const task = this.#heap[0]
      if (task === undefined)
        throw new Error('virtual time: nothing is left to run and the promise has not settled')
      if (task.dueMs > untilMs)
        throw new Error(`virtual time: the promise has not settled within ${limitMs} ms`)
      if (!this.#runNext()) continue
      await this.#settle()
      this.afterEvent?.()
    }
    return watched
  }

  /** Runs the next task. What it caused still has to settle. @returns false when it was cancelled */
  #runNext(): boolean {
    const task = this.#pop()
    if (task === undefined || task.cancelled) return false
    this.#nowMs = Math.max(this.#nowMs, task.dueMs)
    this.events++
    task.what.run()
    return true
  }

  /** Drains the promise continuations, then the end-of-turn tasks, until nothing is left. */
  async #settle(): Promise<void> {
    if (this.events % EVENTS_PER_TURN === 0) await new Promise<void>((resolve) => setImmediate(resolve))
    await continuations()
    if (this.#endOfTurn.length > 0) await this.#endTurn()
  }

  async #endTurn(): Promise<void> {
    while (this.#endOfTurn.length > 0) {
      const tasks = this.#endOfTurn
      this.#endOfTurn = []
      for (const task of tasks) task.run()
      await continuations()
    }
  }

  #push(task: Task): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(task)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!before(task, heap[parent] as Task)) break
      heap[at] = heap[parent] as Task
      at = parent
    }
    heap[at] = task
  }

  #pop(): Task | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (top === undefined || last === undefined || heap.length === 0) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1] as Task, heap[child] as Task)) child++
      if (!before(heap[child] as Task, last)) break
      heap[at] = heap[child] as Task
      at = child
    }
    heap[at] = last
    return top
  }
}

/** `process.nextTick` runs once no continuation is left. */
function continuations(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve))
}

function before(a: Task, b: Task): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order)
}
