import { describe, expect, it } from 'vitest'
import {
  CacheError,
  ERROR_KINDS,
  type ErrorCode,
  errorCodeFromWire,
  toCacheError,
} from '../../../src/kernel/errors.ts'

const codes = Object.keys(ERROR_KINDS) as ErrorCode[]

describe('an error code', () => {
  it('has a number of its own on the wire that fits behind 0x80, and is found by it', () => {
    const numbers = codes.map((code) => ERROR_KINDS[code].wire)
    expect(new Set(numbers).size).toBe(codes.length)
    for (const code of codes) {
      expect(ERROR_KINDS[code].wire).toBeGreaterThanOrEqual(1)
      expect(ERROR_KINDS[code].wire).toBeLessThanOrEqual(127)
      expect(errorCodeFromWire(ERROR_KINDS[code].wire)).toBe(code)
    }
  })

  it('that this release does not know is INTERNAL', () => {
    expect([0, 200, 255, -1, Number.NaN].map(errorCodeFromWire)).toEqual(Array(5).fill('INTERNAL'))
  })

  it('has a gRPC status other than OK', () => {
    for (const code of codes) {
      expect(ERROR_KINDS[code].grpcStatus).toBeGreaterThanOrEqual(1)
      expect(ERROR_KINDS[code].grpcStatus).toBeLessThanOrEqual(16)
    }
  })

  it('whose outcome is unknown is never retryable', () => {
    for (const code of codes) {
      const error = new CacheError(code, 'x')
      if (error.outcome === 'unknown') expect(error.retryable).toBe(false)
    }
    expect(new CacheError('OUTCOME_UNKNOWN', 'x').outcome).toBe('unknown')
    expect(new CacheError('TIMEOUT', 'x').outcome).toBe('none')
  })
})

describe('a CacheError', () => {
  it('carries what it was made with', () => {
    const cause = new Error('below')
    const error = new CacheError('UNAVAILABLE', 'no', { cause, node: 'n1', key: 'k' })
    expect(error).toMatchObject({
      name: 'CacheError',
      code: 'UNAVAILABLE',
      message: 'no',
      node: 'n1',
      key: 'k',
    })
    expect(error.cause).toBe(cause)
    expect(error.retryable).toBe(true)
    expect(error).toBeInstanceOf(Error)
    expect('cause' in new CacheError('CLOSED', 'x')).toBe(false)
  })

  it('is made of anything that was thrown, and of itself not again', () => {
    const error = new CacheError('CLOSED', 'x')
    expect(toCacheError(error)).toBe(error)
    const cause = new RangeError('odd')
    expect(toCacheError(cause)).toMatchObject({ code: 'INTERNAL', message: 'unexpected failure: odd', cause })
    expect(toCacheError('text')).toMatchObject({ code: 'INTERNAL', message: 'unexpected failure: text' })
    expect(toCacheError(undefined).code).toBe('INTERNAL')
  })
})
