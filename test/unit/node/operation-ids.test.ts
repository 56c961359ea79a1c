/** A write is done once, however often it is sent, and its outcome stays what it was. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ByteWriter } from '../../../src/kernel/bytes.ts'
import { encodeKey } from '../../../src/kernel/key.ts'
import { finishFrame } from '../../../src/wire/frames.ts'
import {
  beginRequest,
  Opcode,
  type Opcode as OpcodeType,
  writeOperationId,
  writeOperationStart,
  writeTarget,
} from '../../../src/wire/operations.ts'
import { Status } from '../../../src/wire/results.ts'
import { ClusterBench, partitionOfKey, shown, text, written } from '../../support/cluster-bench.ts'
import type { RawClient, RawResult } from '../../support/raw-client.ts'

const SESSION = '00112233aabbccdd'

describe('a write that is sent again under its operation id', () => {
  let bench: ClusterBench
  let key: string

  beforeEach(async () => {
    bench = await ClusterBench.start()
    key = bench.keyOf(0)
  })
  afterEach(() => bench.cluster.close())

  /** Sends it, hangs up, sends it again on a new stream. */
  async function twice(
    send: (client: RawClient) => Promise<RawResult>,
    between?: (client: RawClient) => Promise<unknown>,
    lane: 'operations' | 'bulk' = 'operations',
  ): Promise<readonly [RawResult, RawResult]> {
    const first = await bench.client(0, SESSION, lane)
    first.firstIncomplete = 1
    const one = await bench.run(send(first))
    if (between !== undefined) await bench.run(between(first))
    first.close()
    const second = await bench.client(0, SESSION, lane)
    second.firstIncomplete = 1
    return [one, await bench.run(send(second))]
  }

  it('set: has the version it got first, and does not overwrite what came since', async () => {
    const other = await bench.client(0)
    const [one, two] = await twice(
      (client) => client.set(key, text('first'), { counter: 1 }),
      () => other.set(key, text('later')),
    )
    expect([written(one), written(two)]).toEqual([1, 1])
    expect(await bench.copies(key)).toEqual(['later', 'later', 'later'])
  })

  it('increment: counts once', async () => {
    const [one, two] = await twice((client) => client.increment(key, 5, { counter: 1 }))
    expect([one.reader.float64(), two.reader.float64()]).toEqual([5, 5])
    expect(bench.replica(0, key).lastSequence).toBe(1)
  })

  it('delete: says that it deleted, though nothing is left to delete', async () => {
    const other = await bench.client(0)
    await bench.run(other.set(key, text('v')))
    const [one, two] = await twice((client) => client.delete(key, { counter: 1 }))
    expect([one.status, two.status]).toEqual([Status.ok, Status.ok])
    expect((await bench.run(other.delete(key))).status).toBe(Status.absent)
  })

  it('conditional set: holds, though its own first attempt made the condition false', async () => {
    const [one, two] = await twice((client) =>
      client.set(key, text('v'), { counter: 1, condition: 'absent' }),
    )
    expect([written(one), written(two)]).toEqual([1, 1])
  })

  it('clear: counts what it removed the first time', async () => {
    const other = await bench.client(0)
    for (let i = 0; i < 20; i++) await bench.run(other.set(bench.keyOf(0, i), text('v')))
    const partition = partitionOfKey(key)
    const inPartition = bench.node(0).core?.dataPlane?.engine.entries(partition) ?? 0
    const [one, two] = await twice(
      (client) => client.request((w) => writeClear(w, partition, 1)),
      () => other.set(key, text('later')),
    )
    expect(inPartition).toBeGreaterThan(0)
    expect([one.reader.varint(), two.reader.varint()]).toEqual([inPartition, inPartition])
    expect(await bench.copies(key)).toEqual(['later', 'later', 'later'])
  })

  it('atomic group: is applied once and returns the same results', async () => {
    const send = (client: RawClient): Promise<RawResult> =>
      client.request((w) => writeIncrements(w, key, 1, 3))
    const [one, two] = await twice(send)
    expect([one.status, two.status]).toEqual([Status.ok, Status.ok])
    const bytes = (result: RawResult): number[] => [...result.reader.raw(result.reader.remaining)]
    expect(bytes(two)).toEqual(bytes(one))
    const other = await bench.client(0)
    expect((await bench.run(other.increment(key, 0))).reader.float64()).toBe(3)
  })

  it('large set, staged: is stored once, and nothing of the second upload stays', async () => {
    const value = new Uint8Array(200_000).fill(65)
    const [one, two] = await twice((client) => client.setLarge(key, value, { counter: 1 }), undefined, 'bulk')
    expect([written(one), written(two)]).toEqual([1, 1])
    await bench.cluster.time.advance(500)
    for (const at of [0, 1, 2]) {
      const { engine, replicator } = bench.node(at).core?.dataPlane ?? {}
      // One value of 200,000 bytes: three blocks and a short tail.
      expect(engine?.stats.largeBytes).toBeLessThan(210_000)
      expect(replicator?.inbox.heldBytes).toBe(0)
    }
  })

  it('twice in one frame is done once', async () => {
    const client = await bench.client(0, SESSION)
    const w = new ByteWriter(256)
    beginRequest(w, 77, 1000, 1)
    for (let i = 0; i < 2; i++) {
      start(w, Opcode.increment, key, 1)
      w.float64(7)
      w.float64(0)
    }
    client.send(finishFrame(w))
    await bench.cluster.time.advance(100)
    expect((await bench.run(client.increment(key, 0))).reader.float64()).toBe(7)
    expect(bench.replica(0, key).lastSequence).toBe(2)
  })

  it('while the first still waits, waits as well and then says the same', async () => {
    bench.cut(0, 1)
    bench.cut(0, 2)
    const client = await bench.client(0, SESSION)
    client.firstIncomplete = 1
    const one = client.set(key, text('v'), { counter: 1, timeoutMs: 5000 })
    const two = client.set(key, text('v'), { counter: 1, timeoutMs: 5000 })
    let told = 0
    for (const each of [one, two]) void each.then(() => told++)
    await bench.cluster.time.advance(200)
    expect(told).toBe(0)
    bench.heal()
    expect([written(await bench.run(one)), written(await bench.run(two))]).toEqual([1, 1])
  })

  it('for another key is refused', async () => {
    const client = await bench.client(0, SESSION)
    await bench.run(client.set(key, text('v'), { counter: 1 }))
    const keys = Array.from({ length: 30 }, (_, n) => bench.keyOf(0, n))
    const far = keys.find((one) => partitionOfKey(one) !== partitionOfKey(key))
    const result = await bench.run(client.set(far ?? '', text('w'), { counter: 1 }))
    expect(result.error?.code).toBe('INVALID_ARGUMENT')
    expect(shown(await bench.run(client.get(far ?? '')))).toBe('absent')
  })

  it('below the watermark is refused as stale', async () => {
    const client = await bench.client(0, SESSION)
    await bench.run(client.set(key, text('v'), { counter: 5 }))
    client.firstIncomplete = 6
    expect(written(await bench.run(client.set(key, text('w'), { counter: 5 })))).toBe('STALE_OPERATION')
    expect(await bench.copies(key)).toEqual(['v', 'v', 'v'])
  })

  it('is known to the backups, up to the watermark they are told', async () => {
    const client = await bench.client(0, SESSION)
    client.firstIncomplete = 1
    for (let counter = 1; counter <= 10; counter++) {
      client.firstIncomplete = Math.max(1, counter - 3)
      await bench.run(client.increment(key, 1, { counter }))
    }
    await bench.cluster.time.advance(1000)
    for (const at of [1, 2]) {
      const outcomes = bench.node(at).core?.dataPlane?.replicator.operations.session(0x00112233, 0xaabbccdd)
      expect(outcomes?.watermark).toBe(7)
      expect(outcomes?.find(6)).toBe(false)
      expect(outcomes?.find(10)).toBe(true)
      expect([outcomes?.foundNumber, outcomes?.foundSequence]).toEqual([10, 10])
    }
  })

  it('is forgotten with its session, once no client retries any more, and not before', async () => {
    const client = await bench.client(0, SESSION)
    await bench.run(client.set(key, text('v'), { counter: 1 }))
    const counts = (): (number | undefined)[] =>
      [0, 1, 2].map((at) => bench.node(at).core?.dataPlane?.replicator.operations.sessionCount)
    await bench.cluster.time.advance(55_000)
    expect(counts()).toEqual([1, 1, 1])
    await bench.cluster.time.advance(15_000)
    // Backups keep it a little longer than the primary, which admits.
    expect(counts()).toEqual([0, 1, 1])
    await bench.cluster.time.advance(30_000)
    expect(counts()).toEqual([0, 0, 0])
  })

  it('that moved on while a backup was away: the backup learns the watermark when it is back', async () => {
    const client = await bench.client(0, SESSION)
    bench.cut(0, 2)
    for (let counter = 1; counter <= 10; counter++) {
      client.firstIncomplete = counter
      await bench.run(client.increment(key, 1, { counter }))
    }
    await bench.cluster.time.advance(4000)
    bench.heal()
    await bench.cluster.time.advance(5000)
    const operations = bench.node(2).core?.dataPlane?.replicator.operations
    expect(operations?.session(0x00112233, 0xaabbccdd).watermark).toBe(10)
  })
})

function start(w: ByteWriter, opcode: OpcodeType, key: string, counter: number): void {
  const bytes = new Uint8Array(key.length * 3)
  writeOperationStart(w, opcode, 0, 0)
  writeTarget(w, 0, 0, bytes, 0, encodeKey(key, bytes, 0))
  writeOperationId(w, counter)
}

function writeClear(w: ByteWriter, partition: number, counter: number): void {
  writeOperationStart(w, Opcode.clear, 0, 0)
  w.varint(0)
  w.varint(0)
  w.varint(partition)
  w.varint(counter)
  w.varint(0)
}

/** A group that increments the key `count` times. */
function writeIncrements(w: ByteWriter, key: string, counter: number, count: number): void {
  start(w, Opcode.atomic, key, counter)
  w.varint(count)
  for (let i = 0; i < count; i++) {
    start(w, Opcode.increment, key, 0)
    w.float64(1)
    w.float64(0)
  }
}
