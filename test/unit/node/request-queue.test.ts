/** What one client asks, in the order it was written. */

import { expect, it } from 'vitest'
import { ByteWriter } from '../../../src/kernel/bytes.ts'
import { RequestQueue } from '../../../src/node/request-queue.ts'
import { beginFrame, FrameType, finishFrame } from '../../../src/wire/frames.ts'
import { beginRequest, Opcode, writeOperationStart } from '../../../src/wire/operations.ts'

/** A REQUEST that asks for statistics so often. */
function request(
  frameNumber: number,
  firstRequestId: number,
  count: number,
  firstIncomplete = 0,
): Uint8Array {
  const w = new ByteWriter(64)
  beginRequest(w, frameNumber, firstRequestId, firstIncomplete)
  for (let i = 0; i < count; i++) {
    writeOperationStart(w, Opcode.stats, 0, 0)
    w.varint(1)
  }
  return body(w)
}

function drop(uploadId: number): Uint8Array {
  const w = new ByteWriter(64)
  beginFrame(w, FrameType.uploadDrop)
  w.uint32(uploadId)
  return body(w)
}

/** As a stream hands it over: without what gRPC puts in front. */
function body(w: ByteWriter): Uint8Array {
  return finishFrame(w).slice(6)
}

/** Carries out the frame in turn. @returns the requests that were not cancelled */
function carryOut(queue: RequestQueue): number[] {
  const ids: number[] = []
  while (queue.hasNext) if (queue.next() && !queue.takeCancellation()) ids.push(queue.requestId)
  queue.finish()
  return ids
}

it('numbers the operations of a frame in turn, also past the end of the numbers', () => {
  const queue = new RequestQueue(10)
  queue.push(request(7, 0xffff_fffe, 3, 41))
  expect(queue.take()).toBe(FrameType.request)
  expect([queue.frameNumber, queue.firstIncomplete]).toEqual([7, 41])
  expect(carryOut(queue)).toEqual([0xffff_fffe, 0xffff_ffff, 0])
  expect(queue.isEmpty).toBe(true)
})

it('keeps what is no request in its place among requests', () => {
  const queue = new RequestQueue(10)
  queue.push(request(1, 1, 1))
  queue.push(drop(5))
  queue.push(request(2, 2, 1))
  expect(queue.take()).toBe(FrameType.request)
  expect(carryOut(queue)).toEqual([1])
  expect(queue.take()).toBe(FrameType.uploadDrop)
  expect(queue.body).toBeUndefined()
  expect(queue.reader.uint32()).toBe(5)
  expect(queue.take()).toBe(FrameType.request)
  expect(carryOut(queue)).toEqual([2])
  expect(queue.take()).toBeUndefined()
})

it('is not empty while a frame is being carried out', () => {
  const queue = new RequestQueue(10)
  queue.push(request(1, 1, 2))
  queue.take()
  queue.next()
  expect(queue.isEmpty).toBe(false)
  expect(queue.body).toBeDefined()
})

it('leaves out what was cancelled, and forgets a cancellation with its frame', () => {
  const queue = new RequestQueue(10)
  queue.push(request(1, 1, 3))
  queue.push(request(2, 4, 2))
  queue.cancel(2)
  queue.cancel(5)
  queue.take()
  expect(carryOut(queue)).toEqual([1, 3])
  queue.take()
  expect(carryOut(queue)).toEqual([4, 5])
})

it('remembers so many cancellations and no more', () => {
  const queue = new RequestQueue(2)
  queue.push(request(1, 1, 4))
  for (let id = 1; id <= 4; id++) queue.cancel(id)
  queue.take()
  expect(carryOut(queue)).toEqual([3, 4])
})
