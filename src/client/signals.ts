/**
 * The AbortSignals of calls under way. A signal of a request or a whole application may be given to any number of calls at
 * once; it gets one listener, which is taken away when the last of them is over.
 */

import { CacheError } from '../kernel/errors.ts'

/** Gives a call up. `reason` is the signal's. */
export type Abort = (reason: unknown) => void

interface Watched {
  readonly aborts: Set<Abort>
  readonly listener: () => void
}

export class Signals {
  readonly #watched = new Map<AbortSignal, Watched>()

  /** Signals with a listener. */
  get size(): number {
    return this.#watched.size
  }

  /** Calls `abort` when the signal fires. @returns what ends that. The signal must not have fired yet. */
  watch(signal: AbortSignal, abort: Abort): () => void {
    const watched = this.#watched.get(signal) ?? this.#listen(signal)
    watched.aborts.add(abort)
    return () => {
      watched.aborts.delete(abort)
      if (watched.aborts.size === 0) this.#forget(signal, watched)
    }
  }

  #listen(signal: AbortSignal): Watched {
    const aborts = new Set<Abort>()
    const listener = (): void => {
      this.#forget(signal, watched)
      for (const abort of [...aborts]) abort(signal.reason)
    }
    const watched = { aborts, listener }
    this.#watched.set(signal, watched)
    signal.addEventListener('abort', listener, { once: true })
    return watched
  }

  #forget(signal: AbortSignal, watched: Watched): void {
    if (this.#watched.get(signal) !== watched) return
    this.#watched.delete(signal)
    signal.removeEventListener('abort', watched.listener)
  }
}

/** @throws CacheError INVALID_ARGUMENT. */
export function checkSignal(signal: unknown): void {
  if (signal === undefined || signal instanceof AbortSignal) return
  throw new CacheError('INVALID_ARGUMENT', 'signal must be an AbortSignal')
}
