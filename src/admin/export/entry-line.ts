/**
 * The lines of an export, each one JSON object (docs/export.md):
 *
 * ```
 * {"ringcache":"export","format":1,"cluster":"shop","exportedAt":"2026-01-31T12:00:00.000Z","regions":[{"name":"default",…}]}
 * {"region":"default","key":"user:1","value":{"name":"Ada"},"expiresAt":"2026-01-31T13:00:00.000Z","tags":["users"]}
 * {"ringcache":"end","entries":1}
 * ```
 * Only lines of entries are needed: who writes one by hand leaves out what is around them. A member that is not known is refused,
 * so that a misspelled one is not passed over.
 */

import type { RawValue } from '../../client/codecs/raw-value.ts'
import type { Entry } from '../../client/entry.ts'
import { CacheError } from '../../kernel/errors.ts'
import { parseDurationMs } from '../../kernel/units.ts'
import type { RegionMessage } from '../../wire/admin.ts'
import { ReadableValues, type WrittenValue } from './readable-value.ts'

/** Raised when lines mean something else than before; a reader takes this one and those before it. */
const FORMAT = 1

export interface HeadLine {
  readonly kind: 'head'
  readonly regions: readonly RegionMessage[]
}

export interface EndLine {
  readonly kind: 'end'
  readonly entries: number
}

export interface EntryLine {
  readonly kind: 'entry'
  /** Undefined: the line does not say. */
  readonly region: string | undefined
  readonly key: string
  readonly value: RawValue
  /** Milliseconds since the Unix epoch; undefined: it does not expire. */
  readonly expiresAtMs: number | undefined
  readonly tags: readonly string[]
}

export type Line = HeadLine | EndLine | EntryLine

const MEMBERS: readonly string[] = [
  'region',
  'key',
  'value',
  'form',
  'stored',
  'expiresAt',
  'ttl',
  'tags',
  'version',
  'createdAt',
]

export class EntryLines {
  readonly #values = new ReadableValues()

  /** @param withMeta also what an import can't bring back: version and time of creation */
  write(region: string, key: string, entry: Entry<RawValue>, withMeta: boolean): string {
    const { value, expiresAt, tags, version, createdAt } = entry
    const more = {
      ...(expiresAt === undefined ? {} : { expiresAt: new Date(expiresAt).toISOString() }),
      ...(tags.length === 0 ? {} : { tags }),
      ...(withMeta
        ? {
            version: [version.partitionEpoch, version.sequence],
            createdAt: new Date(createdAt).toISOString(),
          }
        : {}),
    }
    const rest = JSON.stringify(more).slice(1, -1)
    const start = `{"region":${JSON.stringify(region)},"key":${JSON.stringify(key)},${this.#values.write(value)}`
    return rest === '' ? `${start}}\n` : `${start},${rest}}\n`
  }

  /**
   * @param nowMs what `ttl` counts from
   * @throws CacheError SERIALIZATION naming what is wrong with it, and what is allowed
   */
  read(text: string, nowMs: number): Line {
    const line = parse(text)
    if (line['ringcache'] !== undefined) return readFrame(line)
    const unknown = Object.keys(line).find((name) => !MEMBERS.includes(name))
    if (unknown !== undefined)
      throw wrong(`an entry has no member ${JSON.stringify(unknown)}; there are: ${MEMBERS.join(', ')}`)
    const { region, key, tags } = line
    if (typeof key !== 'string' || key === '')
      throw wrong('"key" is missing: a text of at least one character')
    if (region !== undefined && typeof region !== 'string') throw wrong('"region" is a text')
    if (tags !== undefined && !(Array.isArray(tags) && tags.every((tag) => typeof tag === 'string')))
      throw wrong('"tags" is an array of texts')
    return {
      kind: 'entry',
      region,
      key,
      value: this.#values.read(readValue(line)),
      expiresAtMs: readExpiry(line, nowMs),
      tags: (tags as readonly string[] | undefined) ?? [],
    }
  }
}

export function headLine(cluster: string, wallMs: number, regions: readonly RegionMessage[]): string {
  const exportedAt = new Date(wallMs).toISOString()
  return `${JSON.stringify({ ringcache: 'export', format: FORMAT, cluster, exportedAt, regions })}\n`
}

/** What tells a whole file from one that was cut off. */
export function endLine(entries: number): string {
  return `${JSON.stringify({ ringcache: 'end', entries })}\n`
}

function parse(text: string): Record<string, unknown> {
  let line: unknown
  try {
    line = JSON.parse(text)
  } catch (cause) {
    throw new CacheError('SERIALIZATION', `it is not JSON (${(cause as Error).message})`, { cause })
  }
  if (typeof line !== 'object' || line === null || Array.isArray(line))
    throw wrong('it is no JSON object, such as {"key":"user:1","value":1}')
  return line as Record<string, unknown>
}

function readFrame(line: Record<string, unknown>): HeadLine | EndLine {
  if (line['ringcache'] === 'end') {
    const { entries } = line
    if (typeof entries !== 'number') throw wrong('the last line of an export says how many entries there are')
    return { kind: 'end', entries }
  }
  if (line['ringcache'] !== 'export') throw wrong('"ringcache" is "export" or "end"')
  const { format, regions } = line
  if (typeof format !== 'number' || format > FORMAT)
    throw new CacheError(
      'UNSUPPORTED',
      `its format is ${JSON.stringify(format)}; this release reads up to ${FORMAT}: use a newer one`,
    )
  const isList = Array.isArray(regions) && regions.every((one) => typeof one?.name === 'string')
  return { kind: 'head', regions: isList ? (regions as RegionMessage[]) : [] }
}

function readValue(line: Record<string, unknown>): WrittenValue {
  const { value, form, stored } = line
  if ((value === undefined) === (stored === undefined)) throw wrong('an entry has either "value" or "stored"')
  if (stored !== undefined) {
    if (typeof stored !== 'object' || stored === null) throw wrong('"stored" is {"codec":…,"base64":…}')
    return { stored: stored as { codec: number; base64: string } }
  }
  if (form === undefined) return { value }
  if (form !== 'json' && form !== 'counter') throw wrong('"form" is "json" or "counter"')
  return { value, form }
}

function readExpiry({ expiresAt, ttl }: Record<string, unknown>, nowMs: number): number | undefined {
  if (expiresAt !== undefined && ttl !== undefined) throw wrong('an entry has either "expiresAt" or "ttl"')
  if (ttl !== undefined) return nowMs + parseDurationMs(ttl as string, '"ttl"')
  if (expiresAt === undefined || expiresAt === null) return undefined
  const ms = typeof expiresAt === 'string' ? Date.parse(expiresAt) : expiresAt
  if (typeof ms !== 'number' || !Number.isFinite(ms))
    throw wrong('"expiresAt" is a time such as "2026-01-31T12:00:00.000Z", or milliseconds since 1970')
  return ms
}

function wrong(message: string): CacheError {
  return new CacheError('SERIALIZATION', message)
}
