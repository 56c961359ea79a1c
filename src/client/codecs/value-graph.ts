/**
 * Values that plain MessagePack can't hold, as a table of plain nodes: Map, Set, RegExp, Error, ArrayBuffer, DataView,
 * −0, strings with lone surrogates, sparse arrays, `__proto__` members, references to the same object, cycles.
 *
 * The table is an array: first the value as a member, then nodes, numbered from 1. A node is an array that begins with
 * its tag. A member is either written as it is (primitives, Date, Buffer, typed arrays), or is an array: `[n]` stands for
 * node n, `[]` for a hole of a sparse array. Neither writing nor reading recurses, so depth costs no stack.
 *
 * What JavaScript can't hand over (functions, symbols, promises, weak collections) is refused with the path to it.
 * Instances of other classes are written as what their `toJSON` returns, or else as their own enumerable members.
 */

import { CacheError } from '../../kernel/errors.ts'
import { isLeafObject, isNegativeZero, isWellFormed } from './plain-value.ts'

const Tag = {
  array: 0,
  object: 1,
  map: 2,
  set: 3,
  regExp: 4,
  error: 5,
  negativeZero: 6,
  text: 7,
  arrayBuffer: 8,
  dataView: 9,
} as const

/** More holes than this in one array are refused, when writing and when reading. */
const HOLES_MAX = 1_000_000

const ERROR_CLASSES: Readonly<Record<string, new (message: string) => Error>> = {
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
}

type Node = unknown[]

/** Where a node hangs: for the path in an error message. Node 0 is the value itself. */
interface Origin {
  readonly parent: number
  readonly step: string
}

/** @throws CacheError SERIALIZATION naming the part that can't be written. */
export function writeGraph(value: unknown): unknown[] {
  return new GraphWriter().write(value)
}

/** @throws CacheError SERIALIZATION when the table is not one that `writeGraph` returns. */
export function readGraph(table: unknown): unknown {
  if (!Array.isArray(table) || table.length === 0) throw malformed()
  try {
    return new GraphReader(table).read()
  } catch (cause) {
    // A damaged RegExp or lone index fails in many ways.
    throw cause instanceof CacheError ? cause : malformed(cause)
  }
}

class GraphWriter {
  readonly #table: unknown[] = [undefined]
  readonly #seen = new Map<object, number>()
  /** What each node is written from. */
  readonly #sources: unknown[] = [undefined]
  readonly #origins: Origin[] = [{ parent: -1, step: 'the value' }]

  write(value: unknown): unknown[] {
    this.#table[0] = this.#member(value, 0, '')
    for (let at = 1; at < this.#sources.length; at++) {
      this.#fill(this.#table[at] as Node, this.#sources[at], at)
      this.#sources[at] = undefined
    }
    return this.#table
  }

  /** How `value` stands inside the node `parent`. */
  #member(value: unknown, parent: number, step: string): unknown {
    switch (typeof value) {
      case 'string':
        return isWellFormed(value) ? value : this.#enter(value, parent, step)
      case 'number':
        return isNegativeZero(value) ? this.#enter(value, parent, step) : value
      case 'function':
      case 'symbol':
        throw this.#refuse(`a ${typeof value}`, parent, step)
      case 'object': {
        if (value === null || isLeafObject(value)) return value
        const known = this.#seen.get(value)
        if (known !== undefined) return [known]
        const replaced = this.#replace(value, parent, step)
        if (
          replaced !== value &&
          (typeof replaced !== 'object' || replaced === null || isLeafObject(replaced))
        ) {
          return this.#member(replaced, parent, step)
        }
        const reference = this.#enter(replaced, parent, step)
        this.#seen.set(value, reference[0] as number)
        return reference
      }
      default:
        return value
    }
  }

  #enter(source: unknown, parent: number, step: string): number[] {
    const index = this.#table.push([]) - 1
    this.#sources.push(source)
    this.#origins.push({ parent, step })
    return [index]
  }

  /** What is written in the place of an object of a class that has no form of its own. */
  #replace(value: object, parent: number, step: string): unknown {
    if (hasOwnForm(value)) return value
    if (
      value instanceof Promise ||
      value instanceof WeakMap ||
      value instanceof WeakSet ||
      value instanceof WeakRef ||
      value instanceof SharedArrayBuffer
    ) {
      throw this.#refuse(`a ${value.constructor.name}`, parent, step)
    }
    if (value instanceof String || value instanceof Number || value instanceof Boolean) return value.valueOf()
    const { toJSON } = value as { toJSON?: unknown }
    return typeof toJSON === 'function' ? toJSON.call(value, '') : value
  }

  #fill(node: Node, value: unknown, at: number): void {
    if (typeof value === 'string') {
      node.push(Tag.text, Buffer.from(value, 'utf16le'))
    } else if (typeof value === 'number') {
      node.push(Tag.negativeZero)
    } else if (Array.isArray(value)) {
      this.#fillArray(node, value, at)
    } else if (value instanceof Map) {
      node.push(Tag.map)
      let i = 0
      for (const [key, item] of value) {
        node.push(this.#member(key, at, `.keys()[${i}]`), this.#member(item, at, `.values()[${i}]`))
        i++
      }
    } else if (value instanceof Set) {
      node.push(Tag.set)
      let i = 0
      for (const item of value) node.push(this.#member(item, at, `.values()[${i++}]`))
    } else if (value instanceof RegExp) {
      node.push(Tag.regExp, this.#member(value.source, at, '.source'), value.flags, value.lastIndex)
    } else if (value instanceof Error) {
      this.#fillError(node, value, at)
    } else if (value instanceof ArrayBuffer) {
      node.push(Tag.arrayBuffer, Buffer.from(value))
    } else if (ArrayBuffer.isView(value)) {
      node.push(Tag.dataView, Buffer.from(value.buffer, value.byteOffset, value.byteLength))
    } else {
      node.push(Tag.object)
      this.#fillMembers(node, value as Record<string, unknown>, at, [])
    }
  }

  #fillArray(node: Node, array: readonly unknown[], at: number): void {
    node.push(Tag.array)
    let holes = 0
    for (let i = 0; i < array.length; i++) {
      if (i in array) {
        node.push(this.#member(array[i], at, `[${i}]`))
      } else {
        if (++holes > HOLES_MAX) throw this.#refuse('an array with more than a million holes', at, '')
        node.push([])
      }
    }
  }

  #fillError(node: Node, error: Error, at: number): void {
    node.push(Tag.error)
    for (const name of ['name', 'message', 'stack'] as const) {
      node.push(this.#member(String(error[name] ?? ''), at, `.${name}`))
    }
    if (Object.hasOwn(error, 'cause')) node.push('cause', this.#member(error.cause, at, '.cause'))
    if (error instanceof AggregateError) node.push('errors', this.#member(error.errors, at, '.errors'))
    const members = error as unknown as Record<string, unknown> // its own members are any
    this.#fillMembers(node, members, at, ['name', 'message', 'stack', 'cause', 'errors'])
  }

  #fillMembers(node: Node, source: Record<string, unknown>, at: number, except: readonly string[]): void {
    for (const key of Object.keys(source)) {
      if (except.includes(key)) continue
      const step = /^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`
      node.push(this.#member(key, at, '.key'), this.#member(source[key], at, step))
    }
  }

  #refuse(what: string, parent: number, step: string): CacheError {
    let path = step
    for (let at = parent; at >= 0; ) {
      const origin = this.#origins[at] as Origin
      path = origin.step + path
      at = origin.parent
    }
    return new CacheError(
      'SERIALIZATION',
      `${path} is ${what}, which can't be stored: leave it out or convert it`,
    )
  }
}

class GraphReader {
  readonly #table: readonly unknown[]
  readonly #made: unknown[] = []

  constructor(table: readonly unknown[]) {
    this.#table = table
  }

  read(): unknown {
    for (let at = 1; at < this.#table.length; at++) {
      const node = this.#table[at]
      if (!Array.isArray(node)) throw malformed()
      this.#made[at] = makeEmpty(node, this.#table)
    }
    for (let at = 1; at < this.#table.length; at++) this.#fill(this.#made[at], this.#table[at] as Node)
    return this.#member(this.#table[0])
  }

  #member(member: unknown): unknown {
    if (!Array.isArray(member)) return member
    const index: unknown = member[0]
    if (member.length !== 1 || typeof index !== 'number' || !(index in this.#made)) throw malformed()
    return this.#made[index]
  }

  #fill(made: unknown, node: Node): void {
    switch (node[0]) {
      case Tag.array: {
        const array = made as unknown[]
        array.length = node.length - 1
        for (let i = 1; i < node.length; i++) {
          const member = node[i]
          if (!Array.isArray(member) || member.length > 0) array[i - 1] = this.#member(member)
        }
        return
      }
      case Tag.object:
        this.#fillMembers(made as object, node, 1, true)
        return
      case Tag.map:
        for (let i = 1; i + 1 < node.length; i += 2) {
          ;(made as Map<unknown, unknown>).set(this.#member(node[i]), this.#member(node[i + 1]))
        }
        return
      case Tag.set:
        for (let i = 1; i < node.length; i++) (made as Set<unknown>).add(this.#member(node[i]))
        return
      case Tag.error: {
        const error = made as Error
        define(error, 'stack', String(this.#member(node[3])), false)
        let at = 4
        // `cause` and `errors` are not enumerable on real errors; they stand first.
        for (; at + 1 < node.length && (node[at] === 'cause' || node[at] === 'errors'); at += 2) {
          define(error, node[at] as string, this.#member(node[at + 1]), false)
        }
        this.#fillMembers(error, node, at, true)
      }
    }
  }

  #fillMembers(target: object, node: Node, from: number, enumerable: boolean): void {
    for (let i = from; i + 1 < node.length; i += 2) {
      const key = this.#member(node[i])
      if (typeof key !== 'string') throw malformed()
      define(target, key, this.#member(node[i + 1]), enumerable)
    }
  }
}

/** The object a node stands for, before its members, so that members can refer to it. */
function makeEmpty(node: Node, table: readonly unknown[]): unknown {
  switch (node[0]) {
    case Tag.array:
      return []
    case Tag.object:
      return {}
    case Tag.map:
      return new Map()
    case Tag.set:
      return new Set()
    case Tag.regExp: {
      const expression = new RegExp(textOf(node[1], table), textOf(node[2], table))
      if (typeof node[3] === 'number') expression.lastIndex = node[3]
      return expression
    }
    case Tag.error: {
      const name = textOf(node[1], table)
      const message = textOf(node[2], table)
      if (name === 'AggregateError') return new AggregateError([], message)
      const known = Object.hasOwn(ERROR_CLASSES, name) ? ERROR_CLASSES[name] : undefined
      const error = known === undefined ? new Error(message) : new known(message)
      if (error.name !== name) define(error, 'name', name, false)
      return error
    }
    case Tag.negativeZero:
      return -0
    case Tag.text:
      return textOfNode(node)
    case Tag.arrayBuffer:
      return copyOf(node[1]).buffer
    case Tag.dataView:
      return new DataView(copyOf(node[1]).buffer)
    default:
      throw malformed()
  }
}

/** A text member: itself, or a reference to a text node. */
function textOf(member: unknown, table: readonly unknown[]): string {
  if (typeof member === 'string') return member
  const node: unknown = Array.isArray(member) ? table[Number(member[0])] : undefined
  if (!Array.isArray(node) || node[0] !== Tag.text) throw malformed()
  return textOfNode(node)
}

function textOfNode(node: Node): string {
  const bytes = copyOf(node[1])
  return Buffer.from(bytes.buffer).toString('utf16le')
}

function copyOf(bytes: unknown): Uint8Array<ArrayBuffer> {
  if (!(bytes instanceof Uint8Array)) throw malformed()
  return new Uint8Array(bytes)
}

/** Sets an own property, `__proto__` too, without calling setters. */
function define(target: object, key: string, value: unknown, enumerable: boolean): void {
  Object.defineProperty(target, key, { value, enumerable, writable: true, configurable: true })
}

function hasOwnForm(value: object): boolean {
  const prototype = Object.getPrototypeOf(value)
  return (
    prototype === Object.prototype ||
    prototype === null ||
    Array.isArray(value) ||
    value instanceof Map ||
    value instanceof Set ||
    value instanceof RegExp ||
    value instanceof Error ||
    value instanceof ArrayBuffer ||
    value instanceof DataView
  )
}

function malformed(cause?: unknown): CacheError {
  return new CacheError('SERIALIZATION', 'the stored value is not a well-formed value graph', { cause })
}
