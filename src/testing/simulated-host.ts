/**
 * One machine of a simulation: the clock and scheduler that a process on it sees. Its clock may run fast or slow and jump; the
 * process can be paused (SIGSTOP, a stalled event loop) and crash.
 *
 * A paused process runs nothing while time goes on. Once it runs again it meets what it missed in the order in which
 * Node.js would: first every timer that is overdue, then what the network brought, then what was put off to a next turn.
 * So it may give up on a peer whose answer already waits, as real processes do. Tasks of a crashed process never run.
 */

import type { Clock } from '../kernel/clock.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import type { Runnable, VirtualTime } from './virtual-time.ts'

/** Less is lost in the sum of times: a timer armed again and again for the rest of its delay would never see it pass. */
const DELAY_MIN_MS = 1e-6

type Phase = 'timers' | 'network' | 'turn'

export class SimulatedHost implements Clock, Scheduler {
  readonly name: string
  readonly #time: VirtualTime
  /** Rises at each crash: what was armed before does not run any more. */
  #life = 0
  #paused = false
  #held: Record<Phase, HostTask[]> = { timers: [], network: [], turn: [] }
  /** Milliseconds of its clock per millisecond of virtual time. */
  #rate = 1
  #rateSinceMs = 0
  #monotonicThenMs = 0
  #wallOffsetMs = 0
  /** Set when something ran here; whoever wants to know what changed clears it. */
  active = false

  constructor(name: string, time: VirtualTime) {
    this.name = name
    this.#time = time
  }

  monotonicMs(): number {
    return this.#monotonicThenMs + (this.#time.monotonicMs() - this.#rateSinceMs) * this.#rate
  }

  wallMs(): number {
    return this.#time.wallMs() + (this.monotonicMs() - this.#time.monotonicMs()) + this.#wallOffsetMs
  }

  after(delayMs: number, task: () => void): Timer {
    const armed = new HostTask(this, 'timers', task)
    // A timer fires by the clock of its machine, and not before time has gone on as far as the clock can tell.
    armed.timer = this.#time.arm(delayMs > 0 ? Math.max(DELAY_MIN_MS, delayMs / this.#rate) : 0, armed)
    return armed
  }

  endOfTurn(task: () => void): void {
    this.#time.armEndOfTurn(new HostTask(this, 'turn', task))
  }

  nextTurn(task: () => void): void {
    this.#time.arm(0, new HostTask(this, 'turn', task))
  }

  /** What the network or disk brings: runs at once, or once the process goes on. */
  receive(task: () => void): void {
    if (this.#paused) this.#held.network.push(new HostTask(this, 'network', task))
    else this.#run(task)
  }

  /**
   * Runs `work` after a while, even if the process stands still then, and what it returns on the process. Nothing of either
   * happens if the process has ended by then.
   */
  fromDevice(delayMs: number, work: () => () => void): void {
    const life = this.#life
    this.#time.after(delayMs, () => {
      if (life === this.#life) this.receive(work())
    })
  }

  get paused(): boolean {
    return this.#paused
  }

  get life(): number {
    return this.#life
  }

  /** Lets the clocks of this machine run fast (1.05) or slow (0.95) from now on. Timers that are armed keep their time. */
  setClockRate(rate: number): void {
    this.#monotonicThenMs = this.monotonicMs()
    this.#rateSinceMs = this.#time.monotonicMs()
    this.#rate = rate
  }

  /** Sets the wall clock forward or back, as an administrator or NTP would. */
  jumpWallClock(ms: number): void {
    this.#wallOffsetMs += ms
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    const { timers, network, turn } = this.#held
    this.#held = { timers: [], network: [], turn: [] }
    for (const task of timers) this.#time.arm(0, task)
    // What came meanwhile is read at once: frames of a stream that arrived together are handled in one turn.
    this.#time.arm(0, {
      run: () => {
        for (const task of network) task.run()
      },
    })
    for (const task of turn) this.#time.arm(0, task)
  }

  /** Ends the process: nothing it armed runs any more. The host itself is ready for the next one. */
  crash(): void {
    this.#life++
    this.#paused = false
    this.#held = { timers: [], network: [], turn: [] }
  }

  /** Runs the task of a process that is alive, now or once it goes on. */
  perform(armed: HostTask): void {
    if (armed.life !== this.#life || armed.cancelled) return
    if (this.#paused) this.#held[armed.phase].push(armed)
    else this.#run(armed.task)
  }

  #run(task: () => void): void {
    this.active = true
    task()
  }
}

/** Something a process has armed. It dies with the process. */
class HostTask implements Timer, Runnable {
  readonly #host: SimulatedHost
  readonly phase: Phase
  readonly task: () => void
  readonly life: number
  cancelled = false
  timer: Timer | undefined

  constructor(host: SimulatedHost, phase: Phase, task: () => void) {
    this.#host = host
    this.phase = phase
    this.task = task
    this.life = host.life
  }

  run(): void {
    this.#host.perform(this)
  }

  cancel(): void {
    this.cancelled = true
    this.timer?.cancel()
  }
}
