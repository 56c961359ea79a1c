import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteReader, ByteWriter } from '../../../src/kernel/bytes.ts'
import { ERROR_KINDS, type ErrorCode } from '../../../src/kernel/errors.ts'
import {
  type EntryMeta,
  readEntryMeta,
  readErrorResult,
  Status,
  writeEntryMeta,
  writeErrorResult,
  writeResult,
} from '../../../src/wire/results.ts'

describe('a result', () => {
  it('begins with the request it answers and a status', () => {
    const w = new ByteWriter()
    writeResult(w, 0xffff_ffff, Status.absent)
    const r = new ByteReader(w.toBytes())
    expect([r.uint32(), r.uint8(), r.remaining]).toEqual([0xffff_ffff, Status.absent, 0])
  })

  it('that is an error comes back with code, message and the node that answered', () => {
    for (const code of Object.keys(ERROR_KINDS) as ErrorCode[]) {
      const w = new ByteWriter()
      writeErrorResult(w, 5, code, 'what to do')
      const r = new ByteReader(w.toBytes())
      expect(r.uint32()).toBe(5)
      const status = r.uint8()
      expect(status).toBeGreaterThan(Status.error)
      expect(readErrorResult(r, status, 'node2')).toMatchObject({
        code,
        message: 'what to do',
        node: 'node2',
      })
    }
  })

  it('no plain status can be taken for an error', () => {
    const { error, ...plain } = Status
    for (const status of Object.values(plain)) expect(status).toBeLessThan(error)
  })

  it('holds the metadata of an entry', () => {
    const time = fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1e14, noNaN: true }))
    const anyMeta = fc.record<EntryMeta>({
      partitionEpoch: fc.nat(),
      sequence: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
      createdAtMs: time,
      expiresAtMs: time,
      staleAtMs: time,
    })
    fc.assert(
      fc.property(anyMeta, (meta) => {
        const w = new ByteWriter()
        writeEntryMeta(w, meta)
        expect(readEntryMeta(new ByteReader(w.toBytes()))).toEqual(meta)
      }),
    )
  })
})
