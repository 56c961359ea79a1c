import { describe, expect, it } from 'vitest'
import { ByteReader, ByteWriter } from '../../../src/kernel/bytes.ts'
import { CacheError } from '../../../src/kernel/errors.ts'
import { SeededRandom } from '../../../src/kernel/random.ts'
import { type AtomicCheck, isCheck, readAtomicMember, writeAtomicCheck } from '../../../src/wire/atomic.ts'
import {
  ConditionCode,
  Opcode,
  Operation,
  writeOperationId,
  writeOperationStart,
  writeTarget,
} from '../../../src/wire/operations.ts'
import { mutated } from '../../support/hostile-bytes.ts'

const KEY = Uint8Array.from([1, 2, 3, 4])

function checkBytes(check: AtomicCheck): Uint8Array {
  const w = new ByteWriter()
  writeAtomicCheck(w, 3, 9, KEY, 1, 3, check)
  return w.toBytes()
}

function read(bytes: Uint8Array): Operation {
  const op = new Operation()
  const r = new ByteReader(bytes)
  readAtomicMember(r, op)
  expect(r.remaining).toBe(0)
  return op
}

describe('a member of an atomic group', () => {
  it.each(['absent', 'present'] as const)('checks that a key is %s', (kind) => {
    const op = read(checkBytes({ kind }))
    expect([isCheck(op), op.regionId, op.partitionEpoch, op.condition]).toEqual([
      true,
      3,
      9,
      ConditionCode[kind],
    ])
    expect([op.keyEnd - op.keyStart, checkBytes({ kind })[op.keyStart]]).toEqual([2, 2])
  })

  it('checks a version', () => {
    const op = read(checkBytes({ kind: 'version', partitionEpoch: 5, sequence: 2 ** 40 }))
    expect([op.condition, op.conditionEpoch, op.conditionSequence]).toEqual([
      ConditionCode.version,
      5,
      2 ** 40,
    ])
  })

  it('checks a value', () => {
    const bytes = checkBytes({ kind: 'value', codec: 4, value: Uint8Array.of(7, 8) })
    const op = read(bytes)
    expect([isCheck(op), op.codec, ...bytes.slice(op.valueStart, op.valueEnd)]).toEqual([true, 4, 7, 8])
  })

  it('changes a key', () => {
    const w = new ByteWriter()
    writeOperationStart(w, Opcode.delete, 0, 0)
    writeTarget(w, 3, 9, KEY, 0, 4)
    writeOperationId(w, 0)
    const op = read(w.toBytes())
    expect([isCheck(op), op.opcode]).toEqual([false, Opcode.delete])
  })

  it('is refused when it checks nothing, or is no check and no change', () => {
    const w = new ByteWriter()
    writeOperationStart(w, Opcode.has, 0, 0)
    writeTarget(w, 3, 9, KEY, 0, 4)
    expect(() => read(w.toBytes())).toThrow(/says nothing to check/)
    w.clear()
    writeOperationStart(w, Opcode.stats, 0, 0)
    w.varint(1)
    expect(() => read(w.toBytes())).toThrow(expect.objectContaining({ code: 'PROTOCOL_ERROR' }))
  })

  it('made of hostile bytes is read or refused, and nothing else', () => {
    const random = new SeededRandom(8)
    const valid = [
      checkBytes({ kind: 'version', partitionEpoch: 5, sequence: 6 }),
      checkBytes({ kind: 'value', codec: 1, value: new Uint8Array(20) }),
    ]
    const op = new Operation()
    for (let i = 0; i < 20_000; i++) {
      try {
        readAtomicMember(new ByteReader(mutated(random, valid[i % 2] ?? KEY, 1)), op)
      } catch (error) {
        if (!(error instanceof CacheError) || error.code !== 'PROTOCOL_ERROR') throw error
      }
    }
  })
})
