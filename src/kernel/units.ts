/**
 * Durations and sizes as people write them. A number is milliseconds or bytes; a string carries its unit.
 */

import { CacheError } from './errors.ts'

/** Milliseconds, or a number with a unit: `ms`, `s`, `m`, `h`, `d` (`'250ms'`, `'1.5h'`). */
export type Duration = number | string
/** Bytes, or a number with a unit in powers of 1024: `b`, `kb`, `mb`, `gb`, in either case (`'64mb'`). */
export type Bytes = number | string

const MS_PER_UNIT: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}
const BYTES_PER_UNIT: Readonly<Record<string, number>> = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 }

/** @throws CacheError INVALID_ARGUMENT naming `what` when the text is not a duration, or is negative or not finite. */
export function parseDurationMs(value: Duration, what = 'duration'): number {
  const ms = typeof value === 'number' ? value : parseWithUnit(value, MS_PER_UNIT)
  if (ms === undefined || !Number.isFinite(ms) || ms < 0) {
    throw new CacheError(
      'INVALID_ARGUMENT',
      `${what} is ${JSON.stringify(value)}; give milliseconds as a number, or a text such as '250ms', '30s', '5m', '1h', '7d'`,
    )
  }
  return ms
}

/** @throws CacheError INVALID_ARGUMENT naming `what` when the text is not a size, or is negative or not an integer. */
export function parseBytes(value: Bytes, what = 'size'): number {
  const bytes = typeof value === 'number' ? value : parseWithUnit(String(value).toLowerCase(), BYTES_PER_UNIT)
  if (bytes === undefined || !Number.isSafeInteger(Math.round(bytes)) || bytes < 0) {
    throw new CacheError(
      'INVALID_ARGUMENT',
      `${what} is ${JSON.stringify(value)}; give bytes as a number, or a text such as '512kb', '64mb', '2gb'`,
    )
  }
  return Math.round(bytes)
}

function parseWithUnit(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*$/.exec(text)
  const factor = match?.[2] === undefined ? undefined : units[match[2]]
  return factor === undefined ? undefined : Number(match?.[1]) * factor
}
