/**
 * Streams inside one process: what embedded mode and unit tests use in place of a network.
 *
 * Frames are handed over as they are, without copying, in order, at the end of the turn in which they were sent, so that
 * nothing is delivered from inside `open` or `send`. A stream whose other end is paused holds its frames back; above
 * the mark `send` returns false until they were taken.
 */

import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Scheduler } from '../kernel/scheduler.ts'
import { joinFrame, openFrame } from './frames.ts'
import type { Accept, Dialer, DialOptions, FrameHandler, FrameStream } from './transport.ts'

/** Bytes under way in one direction above which `send` returns false. */
const BUFFER_BYTES_MARK = 1024 * 1024

/** Connects callers to acceptors by address, in one process. */
export class LoopbackNetwork {
  readonly #scheduler: Scheduler
  readonly #acceptors = new Map<string, Accept>()
  readonly #ends = new Set<LoopbackEnd>()

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler
  }

  listen(address: string, accept: Accept): void {
    this.#acceptors.set(address, accept)
  }

  /** New streams to the address are refused; those that are open are reset, as when a process is killed. */
  unlisten(address: string): void {
    this.#acceptors.delete(address)
    for (const end of [...this.#ends]) if (end.address === address) end.reset()
  }

  /** A dialer whose `close` ends the streams it opened. */
  dialer(): Dialer {
    const opened = new Set<LoopbackEnd>()
    return {
      open: (address, options, handler) => {
        const end = this.#open(address, options, handler)
        for (const other of opened) if (other.isClosed) opened.delete(other)
        opened.add(end)
        return end
      },
      close: () => {
        for (const end of opened) end.close()
        opened.clear()
      },
    }
  }

  #open(address: string, options: DialOptions, handler: FrameHandler): LoopbackEnd {
    const scheduler = this.#scheduler
    const forget = (end: LoopbackEnd): void => {
      this.#ends.delete(end)
    }
    const near = new LoopbackEnd(scheduler, address, forget)
    near.handler = handler
    const accept = this.#acceptors.get(address)
    if (accept === undefined) {
      near.fail(
        new CacheError('UNAVAILABLE', `nothing listens at ${address} in this process`, {
          node: address,
          failure: 'refused',
        }),
      )
      return near
    }
    const far = new LoopbackEnd(scheduler, address, forget)
    near.peer = far
    far.peer = near
    this.#ends.add(near)
    this.#ends.add(far)
    scheduler.endOfTurn(() => {
      if (far.isClosed) return
      far.handler = accept(options.service, far, 'loopback')
      far.wake()
    })
    return near
  }
}

/** One end of a stream. Frames wait at the end that receives them. */
class LoopbackEnd implements FrameStream {
  readonly address: string
  /** Set once accepted; frames wait until then. */
  handler: FrameHandler | undefined
  peer: LoopbackEnd | undefined
  readonly #scheduler: Scheduler
  readonly #forget: (end: LoopbackEnd) => void
  #inbox: Uint8Array[] = []
  #inboxBytes = 0
  #paused = false
  #scheduled = false
  /** The peer's `send` returned false and has not been told to go on. */
  #owesDrained = false
  #end: 'open' | 'closing' | 'closed' = 'open'
  #endError: CacheError | undefined
  readonly #run = (): void => this.#deliver()

  constructor(scheduler: Scheduler, address: string, forget: (end: LoopbackEnd) => void) {
    this.#scheduler = scheduler
    this.address = address
    this.#forget = forget
  }

  get isClosed(): boolean {
    return this.#end !== 'open'
  }

  get queuedBytes(): number {
    return this.peer === undefined ? 0 : this.peer.#inboxBytes
  }

  send(message: Uint8Array): boolean {
    const { peer } = this
    if (this.#end !== 'open' || peer === undefined || peer.#end !== 'open') return true
    return peer.#receive(message)
  }

  /** The other end may keep frames, so the parts are copied. */
  sendParts(head: Uint8Array, parts: readonly Uint8Array[], sent?: () => void): boolean {
    const mayGoOn = this.send(joinFrame(head, parts))
    sent?.()
    return mayGoOn
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.wake()
  }

  close(abort = false): void {
    if (this.#end !== 'open') return
    if (abort)
      this.peer?.fail(
        new CacheError('UNAVAILABLE', 'the other side reset the stream', {
          node: this.address,
          failure: 'reset',
        }),
      )
    else this.peer?.finish()
    this.#discard(undefined)
  }

  /** Both ends learn of a broken connection. */
  reset(): void {
    this.fail(
      new CacheError('UNAVAILABLE', `the connection to ${this.address} was reset`, {
        node: this.address,
        failure: 'reset',
      }),
    )
  }

  /** The stream ends with an error; what was under way is lost. */
  fail(error: CacheError): void {
    if (this.#end === 'open') this.#discard(error)
  }

  /** The stream ends once the frames under way are delivered. */
  finish(): void {
    if (this.#end !== 'open') return
    this.#end = 'closing'
    this.wake()
  }

  /** Delivers at the end of this turn what can be delivered. */
  wake(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#scheduler.endOfTurn(this.#run)
  }

  #receive(message: Uint8Array): boolean {
    this.#inbox.push(message)
    this.#inboxBytes += message.length
    this.wake()
    if (this.#inboxBytes <= BUFFER_BYTES_MARK) return true
    this.#owesDrained = true
    return false
  }

  /** Drops what has not been delivered, and ends. */
  #discard(error: CacheError | undefined): void {
    this.#inbox = []
    this.#inboxBytes = 0
    this.#end = 'closing'
    this.#endError = error
    this.wake()
  }

  #deliver(): void {
    this.#scheduled = false
    const { handler } = this
    if (handler === undefined && this.#end === 'open') return
    // Frames that arrive meanwhile are handed over too; closing replaces the inbox and ends the loop.
    const batch = this.#inbox
    let taken = 0
    while (taken < batch.length && !this.#paused && batch === this.#inbox) {
      const message = batch[taken++] as Uint8Array
      this.#inboxBytes -= message.length
      this.#hand(handler, message)
    }
    if (batch === this.#inbox) batch.splice(0, taken)
    if (this.#owesDrained && this.#inboxBytes <= BUFFER_BYTES_MARK / 2) {
      this.#owesDrained = false
      const { peer } = this
      if (peer !== undefined && peer.#end === 'open') peer.handler?.drained()
    }
    if (this.#end !== 'closing') return
    if (this.#inbox.length > 0) {
      if (!this.#paused) this.wake()
      return
    }
    this.#end = 'closed'
    this.#forget(this)
    handler?.closed(this.#endError)
  }

  #hand(handler: FrameHandler | undefined, message: Uint8Array): void {
    try {
      handler?.frame(openFrame(message))
    } catch (error) {
      // A handler that throws has met a frame it can't go on after.
      const cause = toCacheError(error)
      this.peer?.fail(cause)
      if (this.#end === 'open') this.#discard(cause)
    }
  }
}
