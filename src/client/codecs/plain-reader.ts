/**
 * Reads what makes up nearly every stored value (objects, arrays, texts, numbers, booleans, null) from MessagePack, in about
 * half the time msgpackr takes. Dates, byte arrays, large BigInts and undefined inside it are read by msgpackr, one by one. It
 * gives up on all else and on whatever is malformed: msgpackr then reads the whole value, or says what is wrong with it.
 *
 * - Objects of one kind have the same names in the same order: a trie of the names seen predicts the next one. Its bytes are
 *   compared, and neither is a text made nor looked up.
 * - The value is made one Latin-1 text at once, of which texts in ASCII are slices.
 */

/** What `read` returns when msgpackr has to read the value. */
export const NOT_PLAIN: unique symbol = Symbol('not plain')

/** Deeper values are left to msgpackr. */
const DEPTH_MAX = 64
/** Names known to follow the same names. Beyond, they are taken for data (an object used as a map). */
const SUCCESSORS_MAX = 8
/** The trie is begun anew when it has so many. */
const NAMES_MAX = 4096
const NAME_BYTES_MAX = 64

/** Types of extensions that stand for themselves: timestamp, typed array, BigInt, undefined. */
const EXTENSIONS: ReadonlySet<number | undefined> = new Set([0xff, 0x74, 0x42, 0x00])

/** Reads one MessagePack value that is exactly `bytes[start..end)`. May throw. */
export type ReadElement = (bytes: Buffer, start: number, end: number) => unknown

/** A name, after certain others. */
class Name {
  key = ''
  /** Header and text, as they stand in a value. */
  bytes: Uint8Array = new Uint8Array(0)
  /** The first of those that were seen to come next; the others follow as its siblings. */
  next: Name | undefined
  sibling: Name | undefined
  successors = 0
}

/** Ends the reading of a value; never seen outside. */
const GIVE_UP = new Error('not plain')

export class PlainReader {
  readonly #readElement: ReadElement
  #bytes: Buffer = Buffer.alloc(0)
  #view: DataView = new DataView(new ArrayBuffer(0))
  #at = 0
  #end = 0
  /** The value's bytes, each as the character with its number. */
  #text = ''
  #textStart = 0
  #depth = 0
  #first = new Name()
  #names = 0
  /** Any name that is not kept. */
  readonly #unkept = new Name()

  constructor(readElement: ReadElement) {
    this.#readElement = readElement
  }

  /** The value that is exactly `bytes[start..end)`, or NOT_PLAIN. */
  read(bytes: Buffer, start: number, end: number): unknown {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    }
    this.#at = start
    this.#end = end
    this.#text = bytes.toString('latin1', start, end)
    this.#textStart = start
    this.#depth = 0
    try {
      const value = this.#value()
      return this.#at === end ? value : NOT_PLAIN
    } catch {
      // It is malformed, or of another kind: msgpackr will say.
      return NOT_PLAIN
    } finally {
      this.#text = ''
    }
  }

  #value(): unknown {
    const token = this.#bytes[this.#at++] as number
    if (token < 0x80) return token
    if (token < 0x90) return this.#object(token & 0x0f)
    if (token < 0xa0) return this.#array(token & 0x0f)
    if (token < 0xc0) return this.#string(token & 0x1f)
    if (token >= 0xe0) return token - 0x100
    return this.#other(token)
  }

  #other(token: number): unknown {
    switch (token) {
      case 0xc0:
        return null
      case 0xc2:
        return false
      case 0xc3:
        return true
      case 0xcb:
        return this.#view.getFloat64(this.#pass(8))
      case 0xcc:
        return this.#view.getUint8(this.#pass(1))
      case 0xcd:
        return this.#view.getUint16(this.#pass(2))
      case 0xce:
        return this.#view.getUint32(this.#pass(4))
      case 0xd0:
        return this.#view.getInt8(this.#pass(1))
      case 0xd1:
        return this.#view.getInt16(this.#pass(2))
      case 0xd2:
        return this.#view.getInt32(this.#pass(4))
      case 0xd9:
        return this.#string(this.#view.getUint8(this.#pass(1)))
      case 0xda:
        return this.#string(this.#view.getUint16(this.#pass(2)))
      case 0xdc:
        return this.#array(this.#view.getUint16(this.#pass(2)))
      case 0xde:
        return this.#object(this.#view.getUint16(this.#pass(2)))
      default:
        return this.#element(token)
    }
  }

  /** Passes over `count` bytes and returns where they start. */
  #pass(count: number): number {
    const start = this.#at
    this.#at = start + count
    return start
  }

  #string(byteCount: number): string {
    const bytes = this.#bytes
    const start = this.#at
    const end = start + byteCount
    if (end > this.#end) throw GIVE_UP
    this.#at = end
    let at = start
    for (const view = this.#view; at + 4 <= end; at += 4) {
      if (view.getUint32(at) & 0x8080_8080) return bytes.toString('utf8', start, end)
    }
    for (; at < end; at++) if ((bytes[at] as number) >= 0x80) return bytes.toString('utf8', start, end)
    return this.#text.slice(start - this.#textStart, end - this.#textStart)
  }

  #array(count: number): unknown[] {
    this.#enter(count)
    const array = new Array<unknown>(count)
    for (let i = 0; i < count; i++) array[i] = this.#value()
    this.#depth--
    return array
  }

  #object(count: number): Record<string, unknown> {
    this.#enter(2 * count)
    const object: Record<string, unknown> = {}
    let name = this.#first
    for (let i = 0; i < count; i++) {
      name = this.#nextName(name)
      object[name.key] = this.#value()
    }
    this.#depth--
    return object
  }

  /** Nothing is allocated for elements that can't be there. */
  #enter(bytesMin: number): void {
    if (++this.#depth > DEPTH_MAX || bytesMin > this.#end - this.#at) throw GIVE_UP
  }

  /** Reads a name that comes after `previous`. */
  #nextName(previous: Name): Name {
    const bytes = this.#bytes
    const start = this.#at
    for (let name = previous.next; name !== undefined; name = name.sibling) {
      const expected = name.bytes
      const { length } = expected
      let same = 0
      while (same < length && bytes[start + same] === expected[same]) same++
      if (same === length) {
        this.#at = start + length
        return name
      }
    }
    return this.#newName(previous)
  }

  #newName(previous: Name): Name {
    const start = this.#at
    const key = this.#value()
    if (typeof key !== 'string' || key === '__proto__') throw GIVE_UP
    const isKept =
      previous !== this.#unkept &&
      previous.successors < SUCCESSORS_MAX &&
      this.#at - start <= NAME_BYTES_MAX &&
      this.#at <= this.#end
    const name = isKept ? this.#keep(previous, start) : this.#unkept
    // V8 has one copy of each property's name and finds a property faster by that.
    name.key = isKept ? (Object.keys({ [key]: 0 })[0] as string) : key
    return name
  }

  #keep(previous: Name, start: number): Name {
    if (this.#names++ === NAMES_MAX) {
      this.#first = new Name()
      this.#names = 1
    }
    const name = new Name()
    name.bytes = new Uint8Array(this.#bytes.subarray(start, this.#at))
    name.sibling = previous.next
    previous.next = name
    previous.successors++
    return name
  }

  /** What msgpackr reads, one at a time. */
  #element(token: number): unknown {
    const start = this.#at - 1
    const end = this.#at + this.#elementBytes(token)
    if (end > this.#end) throw GIVE_UP
    this.#at = end
    return this.#readElement(this.#bytes, start, end)
  }

  /** How many bytes follow the token. */
  #elementBytes(token: number): number {
    const at = this.#at
    switch (token) {
      case 0xc4: // bin 8
        return 1 + this.#view.getUint8(at)
      case 0xc5: // bin 16
        return 2 + this.#view.getUint16(at)
      case 0xca: // float 32
        return 4
      case 0xcf: // uint 64
      case 0xd3: // int 64
        return 8
      case 0xc7: // ext 8
        return this.#extension(at + 1, 2 + this.#view.getUint8(at))
      case 0xc8: // ext 16
        return this.#extension(at + 2, 3 + this.#view.getUint16(at))
      case 0xd4: // fixext 1, 2, 4, 8, 16
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return this.#extension(at, 1 + 2 ** (token - 0xd4))
      default:
        throw GIVE_UP
    }
  }

  #extension(typeAt: number, byteCount: number): number {
    if (!EXTENSIONS.has(this.#bytes[typeAt])) throw GIVE_UP
    return byteCount
  }
}
