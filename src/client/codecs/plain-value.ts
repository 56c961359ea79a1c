/**
 * Which values MessagePack (as msgpackr writes it, in its fast form) gives back exactly. Everything else (Map, Set, −0,
 * cycles, strings with lone surrogates, …) takes the slower way through a value graph.
 *
 * The walk costs about 15 ns per member, on writes only.
 */

/** Deeper values take the way without recursion. */
const DEPTH_MAX = 64
/** A value of which more parts are seen is either huge or refers to the same objects many times over. */
const PARTS_MAX = 1_000_000

let partsLeft = 0

/** Whether `value` may be written as plain MessagePack. False also for what can't be written at all. */
export function isPlain(value: unknown): boolean {
  partsLeft = PARTS_MAX
  return plain(value, 0)
}

/** Whether the string has a UTF-8 form. */
export function isWellFormed(text: string): boolean {
  // In the library types only from ES2024 on; Node.js 20 has it.
  return (text as string & { isWellFormed(): boolean }).isWellFormed()
}

/** −0, which MessagePack's integers can't express. */
export function isNegativeZero(value: number): boolean {
  return value === 0 && 1 / value < 0
}

function plain(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case 'string':
      return isWellFormed(value)
    case 'number':
      return value !== 0 || !isNegativeZero(value)
    case 'object':
      return value === null || plainObject(value, depth)
    case 'boolean':
    case 'undefined':
    case 'bigint':
      return true
    default:
      return false
  }
}

function plainObject(value: object, depth: number): boolean {
  if (depth === DEPTH_MAX || --partsLeft < 0) return false
  const prototype = Object.getPrototypeOf(value)
  if (prototype === Object.prototype || prototype === null) return plainRecord(value, depth)
  if (Array.isArray(value)) {
    if (prototype !== Array.prototype) return false
    partsLeft -= value.length
    for (let i = 0; i < value.length; i++) {
      const item: unknown = value[i]
      if (item === undefined && !(i in value)) return false
      if (!plain(item, depth + 1)) return false
    }
    return true
  }
  return isLeafObject(value)
}

/** Date, Buffer and typed arrays: objects that MessagePack holds exactly. */
export function isLeafObject(value: object): boolean {
  const prototype = Object.getPrototypeOf(value)
  if (prototype === Date.prototype || prototype === Buffer.prototype) return true
  return TYPED_ARRAY_PROTOTYPES.has(prototype)
}

function plainRecord(value: object, depth: number): boolean {
  const record = value as Record<string, unknown>
  for (const key in record) {
    if (key === '__proto__' || !isWellFormed(key) || !Object.hasOwn(record, key)) return false
    if (!plain(record[key], depth + 1)) return false
  }
  return true
}

const TYPED_ARRAY_PROTOTYPES: ReadonlySet<object> = new Set([
  Int8Array.prototype,
  Uint8Array.prototype,
  Uint8ClampedArray.prototype,
  Int16Array.prototype,
  Uint16Array.prototype,
  Int32Array.prototype,
  Uint32Array.prototype,
  Float32Array.prototype,
  Float64Array.prototype,
  BigInt64Array.prototype,
  BigUint64Array.prototype,
])
