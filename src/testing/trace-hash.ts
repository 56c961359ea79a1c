/**
 * What happened in a run, as one number: two runs with the same number did the same. 64 bits, from two independent
 * FNV-1a-like sums, so that runs that differ are not taken for the same by chance.
 */
export class TraceHash {
  #low = 0x811c9dc5
  #high = 0x2b7e1516
  /** Events that went into it. */
  events = 0

  /** Something was delivered. Of its bytes the first 64 and the last 16 count. */
  add(atMs: number, from: string, to: string, body: Uint8Array): void {
    this.events++
    this.number(Math.round(atMs * 1e6))
    this.text(from)
    this.text(to)
    this.number(body.length)
    const { length } = body
    for (let i = 0; i < length && i < 64; i++) this.#byte(body[i] as number)
    for (let i = Math.max(64, length - 16); i < length; i++) this.#byte(body[i] as number)
  }

  number(value: number): void {
    this.#byte(value >>> 0)
    this.#byte(Math.floor(value / 0x1_0000_0000) >>> 0)
  }

  text(text: string): void {
    for (let i = 0; i < text.length; i++) this.#byte(text.charCodeAt(i))
  }

  /** 16 hexadecimal digits. */
  get digest(): string {
    return hex(this.#high) + hex(this.#low)
  }

  #byte(value: number): void {
    this.#low = Math.imul(this.#low ^ value, 0x01000193) >>> 0
    this.#high = (Math.imul(this.#high ^ value, 0x85ebca6b) + 0x9e3779b9) >>> 0
  }
}

function hex(word: number): string {
  return word.toString(16).padStart(8, '0')
}
