/**
 * JavaScript values in JSON that people can read. What JSON has is written as it is; all else is an object with one member, whose
 * name begins with `$` and says what it is:
 *
 * | value | JSON |
 * |---|---|
 * | `undefined` | `{"$undefined":true}` |
 * | NaN, ∞, −∞, −0 | `{"$number":"NaN"}`, `"Infinity"`, `"-Infinity"`, `"-0"` |
 * | BigInt | `{"$bigint":"12345678901234567890"}` |
 * | Date | `{"$date":"2026-01-31T12:00:00.000Z"}`; an invalid one `{"$date":null}` |
 * | Map | `{"$map":[[key,value],…]}` |
 * | Set | `{"$set":[item,…]}` |
 * | Uint8Array, Buffer | `{"$bytes":"base64"}`, `{"$buffer":"base64"}` |
 * | other typed arrays, ArrayBuffer, DataView | `{"$Float32Array":"base64"}`: its bytes, little-endian |
 * | an object with one member whose name begins with `$` | the same with one `$` more: `{"$$date":1}` is `{"$date":1}` |
 *
 * What has no such form (cycles, references to one object from several places, sparse arrays, RegExp, Error, deep nesting) is
 * left to the caller, who can write its stored bytes.
 */

import { CacheError } from '../../kernel/errors.ts'

/** What `toTaggedJson` returns for a value that has no form here. */
export const NO_FORM: unique symbol = Symbol('no form')

/** Deeper values have no form when writing, in containers. Each may take three levels of JSON. */
const DEPTH_MAX = 64
const READ_DEPTH_MAX = 4 * DEPTH_MAX

type ViewClass = new (buffer: ArrayBuffer) => ArrayBufferView

/** Besides Uint8Array and Buffer, which have short names. */
const VIEWS: Readonly<Record<string, ViewClass>> = {
  Int8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  DataView,
}
const VIEW_NAMES: ReadonlyMap<object, string> = new Map(
  Object.entries(VIEWS).map(([name, view]) => [view.prototype as object, name]),
)

/** @returns what JSON.stringify writes, or NO_FORM */
export function toTaggedJson(value: unknown): unknown {
  try {
    return write(value, 0, new Set())
  } catch (error) {
    if (error === NO_FORM_FOUND) return NO_FORM
    throw error
  }
}

/** @throws CacheError SERIALIZATION naming what is wrong */
export function fromTaggedJson(json: unknown): unknown {
  return read(json, 0)
}

const NO_FORM_FOUND = new Error('no form')

/** @param seen objects met before: two references to one object would come back as two objects */
function write(value: unknown, depth: number, seen: Set<object>): unknown {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      return writeNumber(value)
    case 'undefined':
      return { $undefined: true }
    case 'bigint':
      return { $bigint: String(value) }
    case 'object':
      return value === null ? null : writeObject(value, depth, seen)
    default:
      throw NO_FORM_FOUND
  }
}

function writeNumber(value: number): unknown {
  if (Object.is(value, -0)) return { $number: '-0' }
  return Number.isFinite(value) ? value : { $number: String(value) }
}

function writeObject(value: object, depth: number, seen: Set<object>): unknown {
  if (depth === DEPTH_MAX || seen.has(value)) throw NO_FORM_FOUND
  seen.add(value)
  const prototype = Object.getPrototypeOf(value)
  if (Array.isArray(value)) return writeArray(value, depth, seen)
  if (prototype === Object.prototype) return writeRecord(value as Record<string, unknown>, depth, seen)
  if (prototype === Date.prototype) {
    const date = value as Date
    return { $date: Number.isNaN(date.getTime()) ? null : date.toISOString() }
  }
  if (prototype === Map.prototype) {
    const pairs = [...(value as Map<unknown, unknown>)]
    return { $map: pairs.map(([key, item]) => [write(key, depth + 1, seen), write(item, depth + 1, seen)]) }
  }
  if (prototype === Set.prototype) {
    return { $set: [...(value as Set<unknown>)].map((item) => write(item, depth + 1, seen)) }
  }
  return writeBytes(value, prototype)
}

function writeArray(array: readonly unknown[], depth: number, seen: Set<object>): unknown[] {
  const written: unknown[] = []
  for (let i = 0; i < array.length; i++) {
    if (!(i in array)) throw NO_FORM_FOUND
    written.push(write(array[i], depth + 1, seen))
  }
  return written
}

function writeRecord(record: Record<string, unknown>, depth: number, seen: Set<object>): object {
  const keys = Object.keys(record)
  const [first] = keys
  const looksLikeTag = keys.length === 1 && first?.startsWith('$') === true
  const written = {}
  for (const key of keys) define(written, looksLikeTag ? `$${key}` : key, write(record[key], depth + 1, seen))
  return written
}

function writeBytes(value: object, prototype: object): object {
  if (value instanceof ArrayBuffer) return { $ArrayBuffer: Buffer.from(value).toString('base64') }
  if (!ArrayBuffer.isView(value)) throw NO_FORM_FOUND
  const { buffer, byteOffset, byteLength } = value
  const base64 = Buffer.from(buffer, byteOffset, byteLength).toString('base64')
  if (prototype === Buffer.prototype) return { $buffer: base64 }
  if (prototype === Uint8Array.prototype) return { $bytes: base64 }
  const name = VIEW_NAMES.get(prototype)
  if (name === undefined) throw NO_FORM_FOUND
  return { [`$${name}`]: base64 }
}

function read(json: unknown, depth: number): unknown {
  if (typeof json !== 'object' || json === null) return json
  if (depth > READ_DEPTH_MAX) throw wrong(`the value is nested deeper than ${READ_DEPTH_MAX} levels`)
  if (Array.isArray(json)) return json.map((item) => read(item, depth + 1))
  const record = json as Record<string, unknown>
  const keys = Object.keys(record)
  const [first] = keys
  const isTagged = keys.length === 1 && first?.startsWith('$') === true
  if (isTagged && !first.startsWith('$$')) return readTagged(first, record[first], depth)
  const value = {}
  for (const key of keys) define(value, isTagged ? key.slice(1) : key, read(record[key], depth + 1))
  return value
}

function readTagged(tag: string, content: unknown, depth: number): unknown {
  switch (tag) {
    case '$undefined':
      return undefined
    case '$number': {
      const special = ['NaN', 'Infinity', '-Infinity', '-0'].find((name) => name === content)
      if (special === undefined) throw wrong('$number is "NaN", "Infinity", "-Infinity" or "-0"')
      return Number(special)
    }
    case '$bigint':
      if (typeof content !== 'string' || !/^-?\d+$/.test(content)) throw wrong('$bigint is a text of digits')
      return BigInt(content)
    case '$date': {
      const date = new Date(content === null ? Number.NaN : (content as string))
      if (content === null) return date
      if (typeof content !== 'string' || Number.isNaN(date.getTime()))
        throw wrong('$date is a time such as "2026-01-31T12:00:00.000Z", or null')
      return date
    }
    case '$map':
      if (!Array.isArray(content) || !content.every((pair) => Array.isArray(pair) && pair.length === 2))
        throw wrong('$map is an array of [key, value]')
      return new Map(content.map(([key, item]) => [read(key, depth + 2), read(item, depth + 2)]))
    case '$set':
      if (!Array.isArray(content)) throw wrong('$set is an array')
      return new Set(content.map((item) => read(item, depth + 1)))
    default:
      return readBytes(tag, content)
  }
}

function readBytes(tag: string, content: unknown): unknown {
  const name = tag.slice(1)
  const view = Object.hasOwn(VIEWS, name) ? VIEWS[name] : undefined
  if (view === undefined && !['$buffer', '$bytes', '$ArrayBuffer'].includes(tag)) {
    throw wrong(
      `${JSON.stringify(tag)} is no tag; an object with this one member is written {${JSON.stringify(`$${tag}`)}: …}`,
    )
  }
  const bytes = bytesOf(content, tag)
  if (tag === '$buffer') return bytes
  // A copy, which begins at 0: typed arrays want their elements aligned.
  const copy = new Uint8Array(bytes)
  if (tag === '$bytes') return copy
  if (view === undefined) return copy.buffer
  try {
    return new view(copy.buffer)
  } catch {
    throw wrong(`${copy.length} bytes are no whole number of elements of ${tag}`)
  }
}

/** @throws CacheError SERIALIZATION unless it is a text of whole, canonical base64 */
export function bytesOf(base64: unknown, what: string): Buffer {
  const bytes = typeof base64 === 'string' ? Buffer.from(base64, 'base64') : undefined
  if (bytes === undefined || bytes.toString('base64') !== base64) throw wrong(`${what} is no base64`)
  return bytes
}

/** Sets an own member, `__proto__` too. */
function define(target: object, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, enumerable: true, writable: true, configurable: true })
}

function wrong(message: string): CacheError {
  return new CacheError('SERIALIZATION', message)
}
