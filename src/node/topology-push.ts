/**
 * Tells one client who owns what: of the first change at once, of those that follow it no more often than every PUSH_PAUSE_MS.
 * While nodes come and go, records follow each other within milliseconds: one of many is enough, the newest.
 */

import type { Clock } from '../kernel/clock.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import type { FrameStream } from '../wire/transport.ts'
import type { DataPlane } from './data-plane.ts'

export interface TopologyPushPorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  dataPlane(): DataPlane | undefined
}

const PUSH_PAUSE_MS = 20

export class TopologyPush {
  readonly #stream: FrameStream
  readonly #ports: TopologyPushPorts
  #pushedMs = Number.NEGATIVE_INFINITY
  /** A newer one waits for the pause to end. */
  #timer: Timer | undefined

  constructor(stream: FrameStream, ports: TopologyPushPorts) {
    this.#stream = stream
    this.#ports = ports
  }

  /** Whether the newest is still to be told. */
  get isDue(): boolean {
    return this.#timer !== undefined
  }

  /** Tells it, or a newer one, once the pause is over. */
  push(plane: DataPlane): void {
    const pauseMs = this.#pushedMs + PUSH_PAUSE_MS - this.#ports.clock.monotonicMs()
    if (pauseMs <= 0) this.#send(plane)
    else this.#timer ??= this.#ports.scheduler.after(pauseMs, () => this.#sendNewest())
  }

  close(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #sendNewest(): void {
    this.#timer = undefined
    const plane = this.#ports.dataPlane()
    if (plane !== undefined) this.#send(plane)
  }

  #send({ topologyFrame }: DataPlane): void {
    this.#pushedMs = this.#ports.clock.monotonicMs()
    this.#stream.send(this.#stream.copies ? topologyFrame : topologyFrame.slice())
  }
}
