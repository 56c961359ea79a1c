/**
 * A configuration and where each of its parts stands, so that a mistake is named by file, line and column. The text is
 * YAML 1.2, core schema; JSON is a part of it.
 */

import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
} from 'yaml'

/** Steps from the root: keys of maps, positions in lists. */
export type OptionPath = readonly (string | number)[]

/** A mistake: where, and what to do about it. */
export interface Problem {
  readonly path: OptionPath
  /** The mistake is the last step's key itself, not what stands behind it. */
  readonly atKey?: boolean
  readonly message: string
  /** The other option of a contradiction: where to point when `path` itself was not written down. */
  readonly related?: OptionPath
}

export interface Source {
  readonly value: unknown
  /** `file:line:column` of what stands at `path`, or of the closest thing around it. */
  locate(path: OptionPath, atKey?: boolean): string
}

/** Anchors may be used this often, so that a small file can't grow into a huge value. */
const ALIASES_MAX = 100

/** A value that was built by a program: the place is its name alone. */
export function objectSource(value: unknown, name: string): Source {
  return { value, locate: () => name }
}

/** Reads YAML. What the YAML itself does wrong is returned as lines of text, with their positions. */
export function yamlSource(text: string, file: string): { source: Source; mistakes: readonly string[] } {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, stringKeys: true })
  const place = (offset: number): string => {
    const { line, col } = lines.linePos(offset)
    return `${file}:${Math.max(line, 1)}:${Math.max(col, 1)}`
  }
  const mistakes = [...document.errors, ...document.warnings].map(
    (mistake) => `${place(mistake.pos[0])}: ${mistake.message}`,
  )
  mistakes.push(...unreadable(document).map(([offset, message]) => `${place(offset)}: ${message}`))
  let value: unknown
  if (mistakes.length === 0) {
    try {
      value = document.toJS({ maxAliasCount: ALIASES_MAX })
    } catch (cause) {
      mistakes.push(`${place(0)}: ${cause instanceof Error ? cause.message : String(cause)}`)
    }
  }
  const locate = (path: OptionPath, atKey = false): string => place(offsetOf(document, path, atKey))
  return { source: { value, locate }, mistakes }
}

/** Valid YAML that makes no value: an alias of nothing, a key that objects can't have. */
function unreadable(document: Document.Parsed): [offset: number, message: string][] {
  const found: [number, string][] = []
  visit(document, {
    Alias(_, alias) {
      if (alias.resolve(document) === undefined) {
        found.push([alias.range?.[0] ?? 0, `there is no anchor &${alias.source} before this alias`])
      }
    },
    Pair(_, { key }) {
      if (isScalar(key) && key.value === '__proto__') {
        found.push([key.range?.[0] ?? 0, '__proto__ is no name for anything; choose another'])
      }
    },
  })
  return found
}

function offsetOf(document: Document.Parsed, path: OptionPath, atKey: boolean): number {
  let node = resolved(document.contents, document)
  let offset = node?.range?.[0] ?? 0
  for (const [depth, step] of path.entries()) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step))
      if (pair === undefined) break
      const keyOffset = (pair.key as Node).range?.[0] ?? offset
      node = resolved(pair.value as Node | null, document)
      const last = depth === path.length - 1
      // An empty value has no place of its own.
      const empty = node === undefined || (isScalar(node) && node.value === null)
      offset = (atKey && last) || empty ? keyOffset : startOf(pair.value as Node, keyOffset)
    } else if (isSeq(node)) {
      const item = node.items[step as number] as Node | undefined
      if (item === undefined) break
      offset = startOf(item, offset)
      node = resolved(item, document)
    } else {
      break
    }
  }
  return offset
}

function startOf(node: Node, otherwise: number): number {
  return node.range?.[0] ?? otherwise
}

function resolved(node: Node | null | undefined, document: Document.Parsed): Node | undefined {
  return (isAlias(node) ? node.resolve(document) : node) ?? undefined
}
