/**
 * Gives the memory of socket reads back as soon as all of it was consumed.
 *
 * node:http2 reads into a new ArrayBuffer of up to 64 KiB each time. Where large values pass, hundreds of MiB a second
 * would otherwise wait for the garbage collector, which V8 starts for every 32 MiB of them: that was a third of the time of
 * nodes and clients, in pauses of 10 ms. A detached buffer is freed at once, for 2 µs.
 *
 * All pieces of a read are views of one buffer, and reads come one after the other: a piece of another buffer says that the
 * one before is done with. That holds on a connection of a single stream, and for buffers of which nobody keeps a view.
 */

import { MessageChannel } from 'node:worker_threads'

/** In library types from ES2024 on, in Node.js from 21 on. */
type Transferable = ArrayBuffer & { transfer?: (newBytes: number) => ArrayBuffer }

export class SpentReads {
  readonly #isAlone: () => boolean
  #current: ArrayBufferLike | undefined
  #isKept = false

  /** @param isAlone whether the connection has had one stream only */
  constructor(isAlone: () => boolean) {
    this.#isAlone = isAlone
  }

  /** A piece of a read arrived; those before are consumed. */
  arrived(piece: Uint8Array): void {
    const { buffer } = piece
    const spent = this.#current
    if (buffer === spent) return
    this.#current = buffer
    const isKept = this.#isKept
    this.#isKept = false
    if (!isKept && spent instanceof ArrayBuffer && this.#isAlone()) free(spent)
  }

  /** Somebody may keep a view of the newest read. */
  keep(): void {
    this.#isKept = true
  }
}

const nowhere = new MessageChannel().port1
nowhere.close()

function free(buffer: Transferable): void {
  if (buffer.transfer !== undefined) buffer.transfer(0)
  // What is handed to a closed port is taken from this side, and dropped.
  else nowhere.postMessage(undefined, [buffer])
}
