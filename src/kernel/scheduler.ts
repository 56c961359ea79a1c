/**
 * Timers, as a port. Whoever starts a timer owns it and cancels it when it closes.
 */

export interface Timer {
  /** Idempotent. After it returns the callback does not run any more. */
  cancel(): void
}

export interface Scheduler {
  /** Runs `task` once, `delayMs` (≥ 0) from now at the earliest. */
  after(delayMs: number, task: () => void): Timer
  /** Runs `task` once all the work of the current turn, microtasks included, is done, and before timers. */
  endOfTurn(task: () => void): void
  /** Runs `task` in the next turn of the event loop, after I/O had a chance to be handled. */
  nextTurn(task: () => void): void
}

/** Repeats `task` until cancelled; the next delay is counted from the end of a run, so runs never overlap. */
export function every(scheduler: Scheduler, periodMs: number, task: () => void): Timer {
  let timer: Timer | undefined
  let cancelled = false
  const arm = (): void => {
    timer = scheduler.after(periodMs, () => {
      task()
      if (!cancelled) arm()
    })
  }
  arm()
  return {
    cancel(): void {
      cancelled = true
      timer?.cancel()
    },
  }
}

/** A timer for work that mostly is not there: nothing is armed until somebody wakes it. */
export interface SleepingTimer extends Timer {
  /** The task runs one period from now, or earlier if that is planned already. */
  wake(): void
}

/** Runs `task` one period after `wake`, and again after each run that says so by returning true. */
export function onDemand(scheduler: Scheduler, periodMs: number, task: () => boolean): SleepingTimer {
  let timer: Timer | undefined
  let cancelled = false
  const wake = (): void => {
    if (timer === undefined && !cancelled) timer = scheduler.after(periodMs, run)
  }
  const run = (): void => {
    timer = undefined
    if (task()) wake()
  }
  return {
    wake,
    cancel(): void {
      cancelled = true
      timer?.cancel()
    },
  }
}
