/**
 * Node's timers behind the Scheduler port.
 *
 * `endOfTurn` must run after the microtasks. A nextTick callback requested from ordinary code runs *before* them, one
 * requested from a microtask runs after the microtask queue is empty; so the request takes a detour through a microtask.
 * Tasks of one turn share that detour: the cost is one array push each.
 *
 * Timers keep the process alive. Their owners cancel them when they close.
 */

import type { Scheduler, Timer } from '../../kernel/scheduler.ts'

class SystemTimer implements Timer {
  readonly #handle: NodeJS.Timeout

  constructor(delayMs: number, task: () => void) {
    this.#handle = setTimeout(task, delayMs)
  }

  cancel(): void {
    clearTimeout(this.#handle)
  }
}

class SystemScheduler implements Scheduler {
  #tasks: (() => void)[] = []
  #spare: (() => void)[] = []
  readonly #hop = (): void => process.nextTick(this.#run)
  readonly #run = (): void => {
    const tasks = this.#tasks
    this.#tasks = this.#spare
    let done = 0
    try {
      while (done < tasks.length) (tasks[done++] as () => void)()
    } finally {
      // Only a task that threw leaves others behind; they still run.
      for (; done < tasks.length; done++) this.endOfTurn(tasks[done] as () => void)
      tasks.length = 0
      this.#spare = tasks
    }
  }

  after(delayMs: number, task: () => void): Timer {
    return new SystemTimer(delayMs, task)
  }

  endOfTurn(task: () => void): void {
    if (this.#tasks.push(task) === 1) queueMicrotask(this.#hop)
  }

  nextTurn(task: () => void): void {
    setImmediate(task)
  }
}

export const systemScheduler: Scheduler = new SystemScheduler()
