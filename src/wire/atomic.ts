/**
 * What stands inside an ATOMIC operation (docs/protocol.md, "Atomic groups"): checks, then mutations, all of keys in one
 * partition. Either every check holds and every mutation is applied, or nothing happens.
 *
 * ```
 * atomic body := target counter [ttl] count:varint member*
 * member := check | mutation
 * check  := HAS operation whose condition bits say absent, present or version (then the version's two varints),
 *           or GET operation without condition bits, then codec:u8 value:blob: the value must be equal
 * mutation := SET | DELETE | INCREMENT operation, as outside, with counter 0: the group's id stands for all
 * ```
 * The target is that of the first member's key and decides the partition. Checks come first.
 *
 * Result `ok`: count:varint, then per mutation its status and payload. Result `conditionFailed`: the index of the first
 * check that did not hold, as a varint.
 */

import type { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import {
  ConditionCode,
  Flag,
  Opcode,
  type Operation,
  readOperation,
  writeOperationStart,
  writeTarget,
} from './operations.ts'

/** Most members, checks and mutations together, of one atomic group. */
export const ATOMIC_MEMBERS_MAX: number = 256

export type AtomicCheck =
  | { readonly kind: 'absent' | 'present' }
  | { readonly kind: 'version'; readonly partitionEpoch: number; readonly sequence: number }
  | { readonly kind: 'value'; readonly codec: number; readonly value: Uint8Array }

/** Writes a check on the key in `key[keyStart..keyEnd)`. */
export function writeAtomicCheck(
  w: ByteWriter,
  regionId: number,
  partitionEpoch: number,
  key: Uint8Array,
  keyStart: number,
  keyEnd: number,
  check: AtomicCheck,
): void {
  if (check.kind === 'value') {
    writeOperationStart(w, Opcode.get, 0, 0)
    writeTarget(w, regionId, partitionEpoch, key, keyStart, keyEnd)
    w.uint8(check.codec)
    w.blob(check.value)
    return
  }
  writeOperationStart(w, Opcode.has, ConditionCode[check.kind] << 4, 0)
  writeTarget(w, regionId, partitionEpoch, key, keyStart, keyEnd)
  if (check.kind === 'version') {
    w.varint(check.partitionEpoch)
    w.varint(check.sequence)
  }
}

/**
 * Reads the next member of an atomic group. `isCheck(op)` tells checks and mutations apart; a check's expectation stands
 * in `op.condition`, `conditionEpoch`, `conditionSequence`, or in `codec`, `valueStart`, `valueEnd`.
 * @throws CacheError PROTOCOL_ERROR when it is malformed or may not be part of a group.
 */
export function readAtomicMember(r: ByteReader, op: Operation): void {
  readOperation(r, op)
  switch (op.opcode) {
    case Opcode.has:
      if ((op.flags & Flag.condition) === 0) {
        throw new CacheError('PROTOCOL_ERROR', 'a check of an atomic group says nothing to check')
      }
      if (op.condition === ConditionCode.version) {
        op.conditionEpoch = r.varint()
        op.conditionSequence = r.varint()
      }
      return
    case Opcode.get: {
      op.codec = r.uint8()
      const bytes = r.varint()
      op.valueStart = r.skip(bytes)
      op.valueEnd = op.valueStart + bytes
      return
    }
    case Opcode.set:
    case Opcode.delete:
    case Opcode.increment:
      return
    default:
      throw new CacheError(
        'PROTOCOL_ERROR',
        `opcode 0x${op.opcode.toString(16)} can't be part of an atomic group`,
      )
  }
}

/** Whether a member read by `readAtomicMember` is a check. */
export function isCheck(op: Operation): boolean {
  return op.opcode === Opcode.has || op.opcode === Opcode.get
}
