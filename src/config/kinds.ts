/**
 * The kinds of values that options have. A kind knows how to read what stands in a file, and says in words what may
 * stand there.
 */

import { isTimeZone, SCHEDULE_ALLOWED, TIME_ZONE_ALLOWED } from '../jobs/schedule.ts'
import { type Address, parseAddress } from '../kernel/address.ts'
import { parseBytes, parseDurationMs } from '../kernel/units.ts'

export interface Kind<T> {
  /** Completes "… is 9; allowed: ". */
  readonly allowed: string
  /** Follows `allowed` in messages: how it is written. */
  readonly example?: string
  /** A bare number or `true` in its place is a text somebody forgot to quote. */
  readonly text: boolean
  /** Undefined when `value` is not allowed. */
  parse(value: unknown): T | undefined
}

export interface NamedAddress extends Address {
  /** As it was written. */
  readonly text: string
}

/** Milliseconds. */
export function duration(min: string, max: string): Kind<number> {
  const [minMs, maxMs] = [parseDurationMs(min), parseDurationMs(max)]
  return {
    allowed: `a duration from ${min} to ${max}`,
    example: 'such as 250ms, 30s, 5m, 1h, 7d (a bare number is milliseconds)',
    text: false,
    parse: (value) => within(quantity(parseDurationMs, value), minMs, maxMs),
  }
}

/** Bytes. */
export function size(min: string, max: string): Kind<number> {
  const [minBytes, maxBytes] = [parseBytes(min), parseBytes(max)]
  return {
    allowed: `a size from ${min} to ${max}`,
    example: 'such as 512kb, 64mb, 2gb (a bare number is bytes)',
    text: false,
    parse: (value) => within(quantity(parseBytes, value), minBytes, maxBytes),
  }
}

export function wholeNumber(min: number, max: number): Kind<number> {
  return {
    allowed: `a whole number from ${min} to ${max}`,
    text: false,
    parse: (value) => (Number.isSafeInteger(value) ? within(value as number, min, max) : undefined),
  }
}

/** A share, where 1 is all of it. */
export function share(min: number, max: number): Kind<number> {
  return {
    allowed: `a number from ${min} to ${max}`,
    text: false,
    parse: (value) => (typeof value === 'number' ? within(value, min, max) : undefined),
  }
}

/** `none` or 0 stand for 0. */
export function orNone(kind: Kind<number>): Kind<number> {
  return {
    ...kind,
    allowed: `none, or ${kind.allowed}`,
    parse: (value) => (value === 'none' || value === 0 ? 0 : kind.parse(value)),
  }
}

export const flag: Kind<boolean> = {
  allowed: 'true or false',
  text: false,
  parse: (value) => (typeof value === 'boolean' ? value : undefined),
}

export function choice<const T extends string>(...choices: readonly T[]): Kind<T> {
  return {
    allowed: choices.join(', '),
    text: false,
    parse: (value) => choices.find((one) => one === value),
  }
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** A short identifier. */
export const name: Kind<string> = {
  allowed: '1 to 64 letters, digits, dots, hyphens and underscores, the first a letter or digit',
  text: true,
  parse: (value) => (typeof value === 'string' && NAME.test(value) ? value : undefined),
}

export const address: Kind<NamedAddress> = {
  allowed: 'host:port with a port from 1 to 65535',
  example: 'such as 127.0.0.1:7401 or [::1]:7401',
  text: true,
  parse: (value) => {
    const found = typeof value === 'string' ? parseAddress(value) : undefined
    return found === undefined ? undefined : { ...found, text: value as string }
  },
}

export const folder: Kind<string> = {
  allowed: 'a path',
  text: true,
  parse: (value) => (typeof value === 'string' && value !== '' && !value.includes('\0') ? value : undefined),
}

/** In front of names of objects (kernel/object-name.ts). */
export const objectPrefix: Kind<string> = {
  allowed: 'letters, digits and . _ = - in parts joined by /',
  text: true,
  parse: (value) =>
    typeof value === 'string' &&
    /^([A-Za-z0-9_=-][A-Za-z0-9._=-]*(\/|$))*$/.test(value) &&
    value.length <= 256
      ? value
      : undefined,
}

/** Of a server; without a user's name or password, which would end up in logs. */
export const url: Kind<string> = {
  allowed: 'http:// or https:// and host:port',
  example: 'such as http://127.0.0.1:9000',
  text: true,
  parse: (value) =>
    typeof value === 'string' && /^https?:\/\/[A-Za-z0-9.:[\]-]+\/?$/.test(value) ? value : undefined,
}

/** Whether it is a good one, and why not, is said in jobs.ts. */
export const cron: Kind<string> = {
  allowed: SCHEDULE_ALLOWED,
  text: true,
  parse: (value) => (typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined),
}

export const timeZone: Kind<string> = {
  allowed: TIME_ZONE_ALLOWED,
  text: true,
  parse: (value) => (typeof value === 'string' && isTimeZone(value) ? value : undefined),
}

/** A list of short identifiers. */
export const names: Kind<readonly string[]> = {
  allowed: 'a list of names, such as [sessions, pages]',
  text: false,
  parse: (value) =>
    Array.isArray(value) && value.length > 0 && value.every((one) => name.parse(one) !== undefined)
      ? (value as string[])
      : undefined,
}

function within(value: number | undefined, min: number, max: number): number | undefined {
  return value !== undefined && value >= min && value <= max ? value : undefined
}

function quantity(parse: (value: number | string) => number, value: unknown): number | undefined {
  if (typeof value !== 'number' && typeof value !== 'string') return undefined
  try {
    return parse(value)
  } catch {
    return undefined
  }
}
