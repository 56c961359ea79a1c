/**
 * What a write may ask for at all: checked before anything is decided, so that neither the log nor the memory ever meets a
 * key, a value or a time it can't hold.
 */

import { CacheError } from '../kernel/errors.ts'
import { INLINE_VALUE_BYTES_MAX } from '../wire/frames.ts'
import { Opcode, type Operation, TTL_MS_MAX } from '../wire/operations.ts'

export interface WriteLimits {
  readonly keyBytesMax: number
  readonly valueBytesMax: number
}

/** @throws CacheError INVALID_ARGUMENT, KEY_TOO_LARGE */
export function checkKey(op: Operation, keyBytesMax: number): void {
  const bytes = op.keyEnd - op.keyStart
  if (bytes === 0) throw new CacheError('INVALID_ARGUMENT', 'the key is empty; give at least one character')
  if (bytes > keyBytesMax) {
    throw new CacheError('KEY_TOO_LARGE', `the key has ${bytes} bytes; at most ${keyBytesMax} are allowed`)
  }
}

/**
 * A write of one key, alone or in an atomic group.
 * @throws CacheError INVALID_ARGUMENT, KEY_TOO_LARGE, VALUE_TOO_LARGE
 */
export function checkWrite(op: Operation, limits: WriteLimits): void {
  checkKey(op, limits.keyBytesMax)
  if (op.ttlMs > TTL_MS_MAX) {
    throw new CacheError(
      'INVALID_ARGUMENT',
      `a time to live of ${op.ttlMs} ms; at most ${TTL_MS_MAX} (100 years) is allowed, 0 stands for no expiry`,
    )
  }
  if (op.opcode !== Opcode.set) return
  const bytes = op.valueEnd - op.valueStart
  if (bytes > limits.valueBytesMax) {
    throw new CacheError(
      'VALUE_TOO_LARGE',
      `the value has ${bytes} bytes encoded; at most ${limits.valueBytesMax} are allowed (limits.value)`,
    )
  }
  if (bytes > INLINE_VALUE_BYTES_MAX) {
    throw new CacheError(
      'INVALID_ARGUMENT',
      `a value of ${bytes} bytes inside a request; send those above ${INLINE_VALUE_BYTES_MAX} in chunks on a bulk stream`,
    )
  }
}
