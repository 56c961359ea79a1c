/** What a client uploaded and will not store: told so, a node keeps nothing of it. */

import { afterEach, describe, expect, it } from 'vitest'
import { ByteWriter } from '../../../src/kernel/bytes.ts'
import { beginFrame, FrameType, finishFrame } from '../../../src/wire/frames.ts'
import { beginRequest, Opcode, writeOperationStart, writeTarget } from '../../../src/wire/operations.ts'
import { ClusterBench, shown, text, written } from '../../support/cluster-bench.ts'
import { DirectStream } from '../../support/direct-stream.ts'
import { uploadFrames } from '../../support/raw-client.ts'
import { helloBody } from '../../support/valid-requests.ts'

const VALUE = new Uint8Array(200_000).fill(7)

describe('an upload that is given up', () => {
  let bench: ClusterBench
  afterEach(() => bench.cluster.close())

  const held = (): number => bench.node(0).core?.dataPlane?.uploadRoom.heldBytes ?? -1

  it('frees its place when it is dropped, whole or in part, among others that go on', async () => {
    bench = await ClusterBench.start()
    const client = await bench.client(0, undefined, 'bulk')
    for (let round = 0; round < 30; round++) {
      for (let id = 1000; id < 1010; id++) {
        const [first, ...rest] = uploadFrames(id, VALUE, 60 * 1024)
        client.send(first as Uint8Array)
        if (id % 2 === 0) for (const frame of rest) client.send(frame)
      }
      client.send(drop(1000, 1001, 1002, 1003, 1004))
      client.send(drop(1005, 1006, 1007, 1008, 1009, 77))
    }
    const key = bench.keyOf(0)
    expect(written(await bench.run(client.setLarge(key, VALUE)))).toBeGreaterThan(0)
    expect(client.error).toBeUndefined()
    expect(held()).toBe(0)
  })

  it('keeps its place among the requests before it', async () => {
    bench = await ClusterBench.start()
    const client = await bench.client(0, undefined, 'bulk')
    const key = bench.keyOf(0)
    const write = client.setLarge(key, text('small'))
    client.send(drop(1))
    expect(written(await bench.run(write))).toBeGreaterThan(0)
    expect(shown(await bench.run(client.get(key)))).toBe('small')
  })

  it('is dropped with the write that names it, when that is cancelled before it is carried out', async () => {
    bench = await ClusterBench.start({ node: { operationsMax: 1 } })
    const stream = new DirectStream()
    const core = bench.node(0).core
    if (core === undefined) throw new Error('no node')
    stream.handler = core.accept('cache', stream, 'test')
    stream.handler.frame(helloBody('abcd000000000001', 'bulk'))
    const send = (message: Uint8Array): void => stream.handler?.frame(message.slice(6))
    const key = text(bench.keyOf(0))
    // Waits for a quorum that never answers; what follows waits for it.
    bench.cut(0, 1)
    bench.cut(0, 2)
    send(
      request(1, (w) => {
        writeOperationStart(w, Opcode.set, 0, 0)
        writeTarget(w, 0, 0, key, 0, key.length)
        w.varint(0)
        w.uint8(0)
        w.blob(text('v'))
      }),
    )
    for (const frame of uploadFrames(5, VALUE, 60 * 1024)) send(frame)
    send(
      request(2, (w) => {
        writeOperationStart(w, Opcode.setUploaded, 0, 0)
        writeTarget(w, 0, 0, key, 0, key.length)
        w.varint(0)
        w.uint8(0)
        w.uint32(5)
      }),
    )
    const cancel = new ByteWriter(16)
    beginFrame(cancel, FrameType.cancel)
    cancel.uint32(2)
    send(finishFrame(cancel))
    bench.heal()
    await bench.cluster.time.advance(5000)
    expect(stream.error).toBeUndefined()
    expect(held()).toBe(0)
  })
})

function drop(...ids: number[]): Uint8Array {
  const w = new ByteWriter(64)
  beginFrame(w, FrameType.uploadDrop)
  for (const id of ids) w.uint32(id)
  return finishFrame(w)
}

function request(number: number, write: (w: ByteWriter) => void): Uint8Array {
  const w = new ByteWriter(256)
  beginRequest(w, number, number, 0)
  write(w)
  return finishFrame(w)
}
