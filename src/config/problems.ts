/**
 * Turns what zod found wrong into messages for a person: where, which option, what stands there, what is allowed there.
 */

import { z } from 'zod'
import { docOf, type OptionDoc } from './option.ts'
import type { OptionPath, Problem } from './source.ts'

const FOUND_LENGTH_MAX = 60
/** A name is suggested when this many letters have to change at most, and fewer than half of them. */
const EDITS_MAX = 3

/** The problems behind the issues of a failed parse of `value` by `schema`. */
export function problemsOf(
  issues: readonly z.core.$ZodIssue[],
  schema: z.ZodType,
  value: unknown,
): Problem[] {
  return issues.flatMap((issue) => {
    const path = clip(issue.path as (string | number)[], value)
    const at = schemaAt(schema, path)
    if (issue.code === 'unrecognized_keys') {
      const known = Object.keys(shapeOf(at) ?? {})
      return issue.keys.map((key) => unknownKey([...path, key], key, known))
    }
    return [notAllowed(path, at, valueAt(value, path))]
  })
}

/** `nodes[0].address`; the empty path is the file itself. */
export function pathText(path: OptionPath): string {
  const text = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`)).join('')
  return text.startsWith('.') ? text.slice(1) : text || 'the configuration'
}

/** What stands in a file, on one line and not too long. */
export function foundText(value: unknown): string {
  if (value === null || value === undefined) return 'empty'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a map'
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value)
  return text.length > FOUND_LENGTH_MAX ? `${text.slice(0, FOUND_LENGTH_MAX)}…` : text
}

function unknownKey(path: OptionPath, key: string, known: readonly string[]): Problem {
  const near = closest(key, known)
  const hint = near === undefined ? '' : ` Did you mean ${near}?`
  return {
    path,
    atKey: true,
    message: `${pathText(path)} is not an option.${hint} Allowed here: ${known.join(', ')}`,
  }
}

function notAllowed(path: OptionPath, schema: z.ZodType | undefined, value: unknown): Problem {
  const doc = schema === undefined ? undefined : docOf(schema)
  const missing = value === undefined ? 'is missing' : `is ${foundText(value)}`
  return {
    path,
    message: `${pathText(path)} ${missing}; allowed: ${allowedText(schema, doc)}${quoteHint(doc, value)}`,
  }
}

function allowedText(schema: z.ZodType | undefined, doc: OptionDoc | undefined): string {
  if (doc !== undefined) return doc.example === undefined ? doc.allowed : `${doc.allowed}, ${doc.example}`
  const inner = schema === undefined ? undefined : unwrap(schema)
  if (inner instanceof z.ZodArray) return 'a list with one entry (- …) or more, at most 100'
  if (inner instanceof z.ZodObject) return `a map with ${Object.keys(inner.shape).join(', ')}`
  return 'a map of names to options'
}

function quoteHint(doc: OptionDoc | undefined, value: unknown): string {
  const bare = typeof value === 'number' || typeof value === 'boolean'
  return doc?.text === true && bare ? `. Put it in quotes: '${String(value)}'` : ''
}

/** The path as far as the value reaches: a scalar has no parts, whatever the schema makes of it. */
function clip(path: readonly (string | number)[], value: unknown): OptionPath {
  let current = value
  for (const [depth, step] of path.entries()) {
    if (current !== undefined && current !== null && typeof current !== 'object') return path.slice(0, depth)
    current = child(current, step)
  }
  return path
}

/** What stands at `path`; undefined when nothing was written there. */
export function valueAt(value: unknown, path: OptionPath): unknown {
  return path.reduce(child, value)
}

function child(value: unknown, step: string | number): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined
  return (value as Readonly<Record<string | number, unknown>>)[step]
}

/** The schema that governs what stands at `path`. */
function schemaAt(schema: z.ZodType, path: OptionPath): z.ZodType | undefined {
  let current: z.ZodType | undefined = schema
  for (const step of path) {
    const inner: z.ZodType | undefined = current === undefined ? undefined : unwrap(current)
    if (inner instanceof z.ZodObject) current = inner.shape[step] as z.ZodType | undefined
    else if (inner instanceof z.ZodRecord) current = inner.valueType as z.ZodType
    else if (inner instanceof z.ZodArray) current = inner.element as z.ZodType
    else return undefined
  }
  return current
}

/** The options of a map; undefined when `schema` is none. */
function shapeOf(schema: z.ZodType | undefined): Readonly<Record<string, z.ZodType>> | undefined {
  const inner = schema === undefined ? undefined : unwrap(schema)
  return inner instanceof z.ZodObject ? (inner.shape as Record<string, z.ZodType>) : undefined
}

/** The schema inside defaults and preprocessing; stops at an option, whose inside is nobody's business. */
export function unwrap(schema: z.ZodType): z.ZodType {
  let current = schema
  while (docOf(current) === undefined) {
    if (current instanceof z.ZodPrefault || current instanceof z.ZodOptional)
      current = current.def.innerType as z.ZodType
    else if (current instanceof z.ZodPipe) current = current.def.out as z.ZodType
    else break
  }
  return current
}

function closest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined
  let bestEdits = Math.min(EDITS_MAX, Math.ceil(word.length / 2) - 1) + 1
  for (const candidate of candidates) {
    const edits = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (edits < bestEdits) [best, bestEdits] = [candidate, edits]
  }
  return best
}

/** Levenshtein's distance, where a swap of neighbours counts once (Damerau). */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)]
  const cell = (i: number, j: number): number => rows[i]?.[j] ?? Number.POSITIVE_INFINITY
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    rows.push(row)
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let edits = Math.min(cell(i - 1, j) + 1, cell(i, j - 1) + 1, cell(i - 1, j - 1) + (same ? 0 : 1))
      if (a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) edits = Math.min(edits, cell(i - 2, j - 2) + 1)
      row.push(edits)
    }
  }
  return cell(a.length, b.length)
}
