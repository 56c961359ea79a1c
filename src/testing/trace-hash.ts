/**
 * What happened in a run, as one number: two runs with the same number did the same. 64 bits, from two independent
 * FNV-1a-like sums, so that runs that differ are not taken for the same by chance.
 */
export class TraceHash {
  #low = 0x811c9dc5 | 0
  #high = 0x2b7e1516
  /** Events that went into it. */
  events = 0

  /** Something was delivered. Of its bytes the first 64 and the last 16 count. */
  add(atMs: number, from: string, to: string, body: Uint8Array): void {
    this.events++
    this.number(Math.round(atMs * 1e6))
    this.text(from)
    this.text(to)
    const { length } = body
    this.number(length)
    this.#bytes(body, 0, Math.min(64, length))
    this.#bytes(body, Math.max(64, length - 16), length)
  }

  number(value: number): void {
    this.#low = mixLow(mixLow(this.#low, value | 0), Math.floor(value / 0x1_0000_0000) | 0)
    this.#high = mixHigh(mixHigh(this.#high, value | 0), Math.floor(value / 0x1_0000_0000) | 0)
  }

  text(text: string): void {
    let low = this.#low
    let high = this.#high
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      low = mixLow(low, unit)
      high = mixHigh(high, unit)
    }
    this.#low = low
    this.#high = high
  }

  /** 16 hexadecimal digits. */
  get digest(): string {
    return hex(this.#high >>> 0) + hex(this.#low >>> 0)
  }

  #bytes(body: Uint8Array, start: number, end: number): void {
    let low = this.#low
    let high = this.#high
    for (let i = start; i < end; i++) {
      const byte = body[i] as number
      low = mixLow(low, byte)
      high = mixHigh(high, byte)
    }
    this.#low = low
    this.#high = high
  }
}

// Signed 32-bit integers throughout: those need no boxes.
function mixLow(low: number, value: number): number {
  return Math.imul(low ^ value, 0x01000193)
}

function mixHigh(high: number, value: number): number {
  return (Math.imul(high ^ value, 0x85ebca6b) + 0x9e3779b9) | 0
}

function hex(word: number): string {
  return word.toString(16).padStart(8, '0')
}
