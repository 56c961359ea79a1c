/** Atomic groups at their primary: every check holds and all is done, or nothing is. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ByteWriter } from '../../../src/kernel/bytes.ts'
import { type AtomicCheck, writeAtomicCheck } from '../../../src/wire/atomic.ts'
import { Opcode, writeOperationStart, writeTarget } from '../../../src/wire/operations.ts'
import { Status } from '../../../src/wire/results.ts'
import { ClusterBench, shown, text, written } from '../../support/cluster-bench.ts'
import type { RawClient, RawResult } from '../../support/raw-client.ts'

type Member = (w: ByteWriter) => void

describe('an atomic group', () => {
  let bench: ClusterBench
  let client: RawClient
  let at: number
  const [a, b] = ['{group}a', '{group}b']

  beforeEach(async () => {
    bench = await ClusterBench.start()
    at = [0, 1, 2].find((node) => bench.replica(node, a).role === 'primary') ?? 0
    client = await bench.client(at)
  })
  afterEach(() => bench.cluster.close())

  function group(...members: Member[]): Promise<RawResult> {
    return bench.run(
      client.request((w) => {
        writeOperationStart(w, Opcode.atomic, 0, 0)
        target(w, a)
        w.varint(0)
        w.varint(members.length)
        for (const member of members) member(w)
      }),
    )
  }

  /** The index of the check that failed; −1 when the group was applied. */
  function failed(result: RawResult): number {
    if (result.status === Status.ok) return -1
    expect(result.status).toBe(Status.conditionFailed)
    return result.reader.varint()
  }

  const check =
    (key: string, what: AtomicCheck): Member =>
    (w) => {
      const bytes = text(key)
      writeAtomicCheck(w, 0, 0, bytes, 0, bytes.length, what)
    }
  const set =
    (key: string, value: string): Member =>
    (w) => {
      writeOperationStart(w, Opcode.set, 0, 0)
      target(w, key)
      w.varint(0)
      w.uint8(0)
      w.blob(text(value))
    }
  const remove =
    (key: string): Member =>
    (w) => {
      writeOperationStart(w, Opcode.delete, 0, 0)
      target(w, key)
      w.varint(0)
    }
  const increment =
    (key: string, by: number): Member =>
    (w) => {
      writeOperationStart(w, Opcode.increment, 0, 0)
      target(w, key)
      w.varint(0)
      w.float64(by)
      w.float64(0)
    }

  it('is applied when all its checks hold, under one sequence, on every copy', async () => {
    const version = written(await bench.run(client.set(a, text('one'))))
    const result = await group(
      check(a, { kind: 'present' }),
      check(a, { kind: 'version', partitionEpoch: 1, sequence: Number(version) }),
      check(a, { kind: 'value', codec: 0, value: text('one') }),
      check(b, { kind: 'absent' }),
      set(a, 'two'),
      set(b, 'three'),
    )
    expect(failed(result)).toBe(-1)
    await bench.cluster.time.advance(200)
    expect(await bench.copies(a)).toEqual(['two', 'two', 'two'])
    expect(await bench.copies(b)).toEqual(['three', 'three', 'three'])
    expect([0, 1, 2].map((node) => bench.replica(node, a).lastSequence)).toEqual([2, 2, 2])
  })

  it.each([
    ['absent', { kind: 'absent' }, a],
    ['present', { kind: 'present' }, b],
    ['version', { kind: 'version', partitionEpoch: 1, sequence: 77 }, a],
    ['another epoch', { kind: 'version', partitionEpoch: 2, sequence: 1 }, a],
    ['version of nothing', { kind: 'version', partitionEpoch: 1, sequence: 1 }, b],
    ['value', { kind: 'value', codec: 0, value: new Uint8Array(3) }, a],
    ['codec', { kind: 'value', codec: 1, value: text('one') }, a],
    ['value of nothing', { kind: 'value', codec: 0, value: text('one') }, b],
  ] as const)('does nothing when a check of kind %s does not hold, and says which', async (_, what, key) => {
    await bench.run(client.set(a, text('one')))
    const result = await group(check(a, { kind: 'present' }), check(key, what), set(a, 'two'), remove(b))
    expect(failed(result)).toBe(1)
    await bench.cluster.time.advance(200)
    expect(await bench.copies(a)).toEqual(['one', 'one', 'one'])
    expect(bench.replica(at, a).lastSequence).toBe(1)
  })

  it('has each mutation see those before it, and reports each', async () => {
    const result = await group(
      increment(a, 5),
      increment(a, 2),
      remove(a),
      remove(a),
      increment(a, 1),
      set(b, 'x'),
    )
    expect(failed(result)).toBe(-1)
    const { reader } = result
    expect(reader.varint()).toBe(6)
    for (const sum of [5, 7]) expect([reader.uint8(), reader.float64()]).toEqual([Status.ok, sum])
    expect([reader.uint8(), reader.uint8()]).toEqual([Status.ok, Status.absent])
    expect([reader.uint8(), reader.float64()]).toEqual([Status.ok, 1])
    expect([reader.uint8(), reader.varint(), reader.varint(), reader.remaining]).toEqual([Status.ok, 1, 1, 0])
    expect((await bench.run(client.increment(a, 0))).reader.float64()).toBe(1)
  })

  it('tells the client what each of several counters came to', async () => {
    const cache = await bench.cluster.connect()
    const counted = cache.atomic().increment('{g}a', 2).increment('{g}b', 3).set('{g}c', 'x').delete('{g}a')
    expect(await bench.run(counted.execute())).toEqual({
      ok: true,
      results: [2, 3, { partitionEpoch: 1, sequence: 1 }, true],
    })
  })

  it('is refused as a whole when one of its mutations can not be done', async () => {
    await bench.run(client.set(b, text('no counter')))
    const result = await group(set(a, 'x'), increment(b, 1))
    expect(result.error?.code).toBe('WRONG_TYPE')
    expect(shown(await bench.run(client.get(a)))).toBe('absent')
    expect(bench.replica(at, a).lastSequence).toBe(1)
  })

  it('refuses a check behind a mutation', async () => {
    expect((await group(set(a, 'x'), check(a, { kind: 'present' }))).error?.code).toBe('PROTOCOL_ERROR')
    expect(shown(await bench.run(client.get(a)))).toBe('absent')
  })

  it('of checks alone, or of nothing, logs nothing', async () => {
    expect(failed(await group(check(a, { kind: 'absent' })))).toBe(-1)
    expect(failed(await group())).toBe(-1)
    expect(failed(await group(check(a, { kind: 'present' })))).toBe(0)
    expect(bench.replica(at, a).lastSequence).toBe(0)
  })

  it('takes an expired entry for absent', async () => {
    await bench.run(client.set(a, text('v'), { ttlMs: 50 }))
    await bench.cluster.time.advance(60)
    expect(failed(await group(check(a, { kind: 'absent' }), set(a, 'new')))).toBe(-1)
    expect(shown(await bench.run(client.get(a)))).toBe('new')
  })
})

function target(w: ByteWriter, key: string): void {
  const bytes = text(key)
  writeTarget(w, 0, 0, bytes, 0, bytes.length)
}
