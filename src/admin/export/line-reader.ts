/** Lines out of chunks of bytes, each of a bounded length. */

/** A longer line can't be of an export: one takes at most 30 MiB. */
const LINE_BYTES_MAX = 32 * 1024 * 1024
const NEWLINE = 0x0a
const BYTE_ORDER_MARK = '\ufeff'

export interface TextLine {
  /** From 1. */
  readonly number: number
  /** Undefined: it is no line of text, for this reason. */
  readonly text: string | undefined
  readonly problem: string
}

/** All lines that are not empty. At most one line, and one chunk, are in memory. */
export async function* readLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<TextLine> {
  const line = new LineBuffer()
  for await (const chunk of chunks) {
    let start = 0
    for (;;) {
      const end = chunk.indexOf(NEWLINE, start)
      if (end < 0) break
      line.add(chunk.subarray(start, end))
      const text = line.take()
      if (text !== undefined) yield text
      start = end + 1
    }
    line.add(chunk.subarray(start))
  }
  const last = line.take()
  if (last !== undefined) yield last
}

class LineBuffer {
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  #parts: Uint8Array[] = []
  #bytes = 0
  #number = 0

  add(part: Uint8Array): void {
    this.#bytes += part.length
    // What is too long is counted, not kept.
    if (this.#bytes > LINE_BYTES_MAX) this.#parts = []
    else if (part.length > 0) this.#parts.push(part)
  }

  /** Ends the line. Undefined: there was nothing in it. */
  take(): TextLine | undefined {
    const number = ++this.#number
    const bytes = this.#bytes
    const parts = this.#parts
    this.#parts = []
    this.#bytes = 0
    if (bytes > LINE_BYTES_MAX)
      return {
        number,
        text: undefined,
        problem: `it has ${bytes} bytes; at most ${LINE_BYTES_MAX} are allowed`,
      }
    let text: string
    try {
      text = this.#decoder.decode(parts.length === 1 ? parts[0] : Buffer.concat(parts))
    } catch {
      return { number, text: undefined, problem: 'it is not UTF-8' }
    }
    if (number === 1 && text.startsWith(BYTE_ORDER_MARK)) text = text.slice(1)
    return text.trim() === '' ? undefined : { number, text, problem: '' }
  }
}
