/**
 * What every implementation of the transport port has to keep (src/wire/transport.ts): gRPC, the in-process network of
 * embedded mode, the simulated one. Each test says one rule.
 */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ByteWriter } from '../../src/kernel/bytes.ts'
import type { CacheError } from '../../src/kernel/errors.ts'
import { beginFrame, FrameType, finishFrame } from '../../src/wire/frames.ts'
import type { Accept, Dialer, FrameHandler, FrameStream, StreamService } from '../../src/wire/transport.ts'

export interface TransportHarness {
  /** Where `listen` listens. */
  readonly address: string
  /** An address at which nothing listens. */
  readonly deadAddress: string
  readonly dialer: Dialer
  /** Whether a paused receiver holds the sender back. Only a simulation may do without. */
  readonly holdsSenderBack: boolean
  listen(accept: Accept): Promise<void>
  /** Lets things happen until the condition holds; fails when it does not in a reasonable time. */
  until(condition: () => boolean): Promise<void>
  /** Lets everything happen that will happen by itself. */
  quiet(): Promise<void>
  close(): Promise<void>
}

const LARGEST_BODY_BYTES = 1024 * 1024

export function transportContract(name: string, start: () => Promise<TransportHarness>): void {
  describe(`transport: ${name}`, () => {
    let net: TransportHarness
    let accepted: Recorder[]

    beforeEach(async () => {
      net = await start()
      accepted = []
      await net.listen((service, stream) => {
        const recorder = new Recorder()
        recorder.stream = stream
        recorder.service = service
        accepted.push(recorder)
        return recorder
      })
    })
    afterEach(() => net.close())

    async function connect(service: StreamService = 'cache'): Promise<{ near: Recorder; far: Recorder }> {
      const near = new Recorder()
      near.stream = net.dialer.open(net.address, { service }, near)
      const count = accepted.length
      await net.until(() => accepted.length > count)
      return { near, far: accepted.at(-1) as Recorder }
    }

    it('carries frames of every size whole and in order, in both directions', async () => {
      const { near, far } = await connect()
      const sizes = [1, 2, 100, 127, 128, 16_384, 65_535, 65_536, 65_537, 300_000, LARGEST_BODY_BYTES, 3]
      sizes.forEach((size, index) => {
        near.stream.send(frame(size, index))
        far.stream.send(frame(size, index))
      })
      await net.until(() => near.bodies.length === sizes.length && far.bodies.length === sizes.length)
      for (const side of [near, far]) {
        expect(side.bodies.map((body) => body.length)).toEqual(sizes)
        side.bodies.forEach((body, index) => {
          if (body.length > 1) expect([body[1], body[body.length - 1]]).toEqual([index, index])
        })
      }
    })

    it('carries thousands of small frames in order', async () => {
      const { near, far } = await connect()
      const count = 5000
      for (let i = 0; i < count; i++) near.stream.send(frame(9, i))
      await net.until(() => far.bodies.length === count)
      expect(far.bodies.every((body, i) => body[1] === (i & 0xff))).toBe(true)
    })

    it('tells the accepting side which service was asked for', async () => {
      expect((await connect('cluster')).far.service).toBe('cluster')
      expect((await connect('cache')).far.service).toBe('cache')
    })

    it('sends what was queued before the connection stood', async () => {
      const near = new Recorder()
      near.stream = net.dialer.open(net.address, { service: 'cache' }, near)
      for (let i = 0; i < 10; i++) near.stream.send(frame(20, i))
      await net.until(() => accepted[0]?.bodies.length === 10)
      expect(accepted[0]?.bodies.map((body) => body[1])).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    })

    it('delivers nothing from inside open, send and resume', async () => {
      const { near, far } = await connect()
      let inside = false
      let violations = 0
      const check = (): void => {
        if (inside) violations++
      }
      near.onEvent = check
      far.onEvent = check
      const guarded = (work: () => void): void => {
        inside = true
        work()
        inside = false
      }
      far.onFrame = () => guarded(() => far.stream.send(frame(10, 1)))
      guarded(() => {
        for (let i = 0; i < 50; i++) near.stream.send(frame(100, i))
      })
      const refused = new Recorder()
      refused.onEvent = check
      guarded(() => {
        refused.stream = net.dialer.open(net.deadAddress, { service: 'cache' }, refused)
      })
      await net.until(() => near.bodies.length === 50 && refused.ends.length === 1)
      near.stream.pause()
      far.stream.send(frame(5, 0))
      await net.quiet()
      guarded(() => near.stream.resume())
      await net.until(() => near.bodies.length === 51)
      expect(violations).toBe(0)
    })

    it('says when its buffer is above the mark, and when it has drained', async () => {
      const { near, far } = await connect()
      far.stream.pause()
      let sent = 0
      while (near.stream.send(frame(60_000, sent))) {
        sent++
        expect(sent).toBeLessThan(1000)
      }
      sent++
      expect(near.stream.queuedBytes).toBeGreaterThan(0)
      expect(near.drains).toBe(0)
      far.stream.resume()
      await net.until(() => near.drains > 0)
      await net.until(() => far.bodies.length === sent && near.stream.queuedBytes === 0)
      expect(near.drains).toBe(1)
      expect(near.stream.send(frame(10, 0))).toBe(true)
    })

    it('holds frames back while paused, slows the sender down, and loses none', async () => {
      for (const turned of [false, true]) {
        const { near, far } = await connect()
        const [sender, receiver] = turned ? [far, near] : [near, far]
        receiver.stream.pause()
        const count = 400
        for (let i = 0; i < count; i++) sender.stream.send(frame(60_000, i))
        await net.quiet()
        expect(receiver.bodies.length).toBe(0)
        if (net.holdsSenderBack) expect(sender.stream.queuedBytes).toBeGreaterThan(10_000_000)
        receiver.stream.resume()
        await net.until(() => receiver.bodies.length === count)
        expect(receiver.bodies.every((body, i) => body[1] === (i & 0xff))).toBe(true)
        expect(sender.stream.queuedBytes).toBe(0)
        near.stream.close()
        await net.until(() => near.ends.length === 1 && far.ends.length === 1)
      }
    })

    it('can be paused from inside a frame, frame by frame', async () => {
      const { near, far } = await connect()
      far.onFrame = () => far.stream.pause()
      for (let i = 0; i < 20; i++) near.stream.send(frame(100, i))
      for (let i = 1; i <= 20; i++) {
        await net.until(() => far.bodies.length === i)
        await net.quiet()
        expect(far.bodies.length).toBe(i)
        far.stream.resume()
      }
    })

    it('does not let a paused stream delay another one', async () => {
      const slow = await connect()
      const fast = await connect()
      slow.far.stream.pause()
      for (let i = 0; i < 100; i++) slow.near.stream.send(frame(60_000, i))
      fast.near.stream.send(frame(10, 7))
      await net.until(() => fast.far.bodies.length === 1)
      expect(slow.far.bodies.length).toBe(0)
    })

    it('still sends queued frames when the dialling side closes, then ends both sides in order', async () => {
      const { near, far } = await connect()
      for (let i = 0; i < 60; i++) near.stream.send(frame(50_000, i))
      near.stream.close()
      await net.until(() => near.ends.length === 1 && far.ends.length === 1)
      await net.quiet()
      expect(far.bodies.length).toBe(60)
      expect(near.ends).toEqual([undefined])
      expect(far.ends).toEqual([undefined])
      expect(far.log.at(-1)).toBe('closed')
    })

    it('still sends queued frames when the accepting side closes, then ends both sides in order', async () => {
      const { near, far } = await connect()
      for (let i = 0; i < 60; i++) far.stream.send(frame(50_000, i))
      far.stream.close()
      await net.until(() => near.ends.length === 1 && far.ends.length === 1)
      await net.quiet()
      expect(near.bodies.length).toBe(60)
      expect(near.ends).toEqual([undefined])
      expect(far.ends).toEqual([undefined])
      expect(near.log.at(-1)).toBe('closed')
    })

    it('calls nothing but closed after close, though the other side goes on sending', async () => {
      for (const turned of [false, true]) {
        const pair = await connect()
        const [closer, other] = turned ? [pair.far, pair.near] : [pair.near, pair.far]
        for (let i = 0; i < 30; i++) other.stream.send(frame(50_000, i))
        closer.stream.close()
        const before = closer.log.length
        for (let i = 0; i < 30; i++) other.stream.send(frame(1000, i))
        await net.until(() => closer.ends.length === 1)
        await net.quiet()
        expect(closer.log.slice(before)).toEqual(['closed'])
      }
    })

    it('ends the other side on an abort, the dialling one with UNAVAILABLE, and drops what was queued', async () => {
      for (const turned of [false, true]) {
        const pair = await connect()
        const [aborter, other] = turned ? [pair.far, pair.near] : [pair.near, pair.far]
        other.stream.pause()
        for (let i = 0; i < 300; i++) aborter.stream.send(frame(60_000, i))
        aborter.stream.close(true)
        await net.until(() => aborter.ends.length === 1)
        other.stream.resume()
        await net.until(() => other.ends.length === 1)
        await net.quiet()
        expect(aborter.ends).toEqual([undefined])
        if (turned) expect(other.ends[0]?.code).toBe('UNAVAILABLE')
        else expect([undefined, 'UNAVAILABLE']).toContain(other.ends[0]?.code)
        expect(other.bodies.length).toBeLessThan(300)
        expect(aborter.log.filter((event) => event === 'closed').length).toBe(1)
      }
    })

    it('ends once, however often it is closed', async () => {
      const { near, far } = await connect()
      near.stream.close()
      near.stream.close()
      near.stream.close(true)
      far.stream.close(true)
      await net.until(() => near.ends.length === 1 && far.ends.length === 1)
      near.stream.close()
      await net.quiet()
      expect([near.ends.length, far.ends.length]).toEqual([1, 1])
    })

    it('drops frames after the end and says true', async () => {
      const { near, far } = await connect()
      near.stream.close()
      expect(near.stream.send(frame(1_000_000, 0))).toBe(true)
      await net.until(() => near.ends.length === 1 && far.ends.length === 1)
      expect(near.stream.send(frame(1_000_000, 0))).toBe(true)
      expect(far.stream.send(frame(1_000_000, 0))).toBe(true)
      expect(far.bodies.length).toBe(0)
      expect(near.stream.queuedBytes).toBe(0)
    })

    it('carries frames that lie in parts, and says once when the parts may change', async () => {
      const { near, far } = await connect()
      const count = 40
      for (const [sender, receiver] of [[near, far] as const, [far, near] as const]) {
        const arrived: number[] = []
        receiver.onFrame = () => {
          // Only now: the bytes of chunks are valid until the handler returns.
          const body = receiver.bodies.pop() as Uint8Array
          expect(body.length).toBe(1 + 100_000 + 50_000)
          expect(body.subarray(1).every((byte) => byte === body[1])).toBe(true)
          arrived.push(body[1] as number)
        }
        let freed = 0
        for (let i = 0; i < count; i++) {
          const parts = [new Uint8Array(100_000).fill(i), new Uint8Array(50_000).fill(i)]
          sender.stream.sendParts(chunkHead(150_000), parts, () => {
            freed++
            for (const part of parts) part.fill(255)
          })
          sender.stream.send(frame(1 + 150_000, i))
        }
        await net.until(() => arrived.length === 2 * count && freed === count)
        expect(arrived).toEqual(Array.from({ length: 2 * count }, (_, at) => at >> 1))
      }
    })

    it('says that the parts may change also when the stream ends or has ended', async () => {
      for (const end of ['abort', 'close', 'far abort', 'refused'] as const) {
        let freed = 0
        let sent = 0
        const pair = end === 'refused' ? undefined : await connect()
        const near = pair?.near ?? new Recorder()
        if (pair === undefined) near.stream = net.dialer.open(net.deadAddress, { service: 'cache' }, near)
        const send = (): void => {
          sent++
          near.stream.sendParts(chunkHead(60_000), [new Uint8Array(60_000)], () => freed++)
        }
        pair?.far.stream.pause()
        for (let i = 0; i < 100; i++) send()
        if (end === 'far abort') pair?.far.stream.close(true)
        if (end === 'abort' || end === 'close') near.stream.close(end === 'abort')
        send()
        await net.until(() => near.ends.length === 1)
        send()
        await net.until(() => freed === sent)
      }
    })

    it('reports a refused connection as UNAVAILABLE, once, and nothing else', async () => {
      const near = new Recorder()
      near.stream = net.dialer.open(net.deadAddress, { service: 'cache' }, near)
      near.stream.send(frame(100, 0))
      await net.until(() => near.ends.length === 1)
      await net.quiet()
      expect(near.log).toEqual(['closed'])
      expect(near.ends[0]?.code).toBe('UNAVAILABLE')
      expect(near.ends[0]?.failure).toBe('refused')
      expect(near.ends[0]?.retryable).toBe(true)
    })

    it('can be closed before the connection stands', async () => {
      for (const abort of [false, true]) {
        const near = new Recorder()
        near.stream = net.dialer.open(net.address, { service: 'cache' }, near)
        near.stream.close(abort)
        await net.until(() => near.ends.length === 1)
        expect(near.log).toEqual(['closed'])
        expect(near.ends).toEqual([undefined])
      }
    })
  })
}

/** Notes all it is told. */
export class Recorder implements FrameHandler {
  stream!: FrameStream
  service: StreamService | undefined
  readonly bodies: Uint8Array[] = []
  readonly ends: (CacheError | undefined)[] = []
  readonly log: string[] = []
  drains = 0
  onEvent: () => void = () => {}
  onFrame: () => void = () => {}

  frame(body: Uint8Array): void {
    this.onEvent()
    this.bodies.push(body)
    this.log.push('frame')
    this.onFrame()
  }

  drained(): void {
    this.onEvent()
    this.drains++
    this.log.push('drained')
  }

  closed(error: CacheError | undefined): void {
    this.onEvent()
    this.ends.push(error)
    this.log.push('closed')
  }
}

/** The beginning of a chunk of which `bytes` follow. */
function chunkHead(bytes: number): Uint8Array {
  const w = new ByteWriter(16)
  beginFrame(w, FrameType.upload)
  return finishFrame(w, bytes)
}

/** A frame whose body has `bodyBytes` bytes; all but the first are `mark`. */
export function frame(bodyBytes: number, mark: number): Uint8Array {
  const w = new ByteWriter(bodyBytes + 16)
  beginFrame(w, FrameType.request)
  w.raw(new Uint8Array(bodyBytes - 1).fill(mark & 0xff))
  return finishFrame(w)
}
