import { describe, expect, it } from 'vitest'
import { ByteWriter } from '../../../src/kernel/bytes.ts'
import { SeededRandom } from '../../../src/kernel/random.ts'
import { SimulatedHost } from '../../../src/testing/simulated-host.ts'
import { SimulatedNetwork } from '../../../src/testing/simulated-network.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'
import { beginFrame, FRAME_HEADROOM, FrameType, finishFrame } from '../../../src/wire/frames.ts'
import type { FrameHandler, FrameStream } from '../../../src/wire/transport.ts'

class Ear implements FrameHandler {
  readonly heard: string[] = []
  frame(body: Uint8Array): void {
    this.heard.push(`frame ${body[0]}`)
  }
  drained(): void {
    this.heard.push('drained')
  }
  closed(error: Error | undefined): void {
    this.heard.push(error === undefined ? 'closed' : 'broken')
  }
}

function bench(): {
  time: VirtualTime
  network: SimulatedNetwork
  a: SimulatedHost
  b: SimulatedHost
  near: Ear
  far: Ear
  stream: FrameStream
} {
  const time = new VirtualTime()
  const network = new SimulatedNetwork(time, new SeededRandom(1), { slowShare: 0 })
  const [a, b] = [new SimulatedHost('a', time), new SimulatedHost('b', time)]
  const [near, far] = [new Ear(), new Ear()]
  network.listen('b:1', b, () => far)
  const stream = network.dialer(a).open('b:1', { service: 'cluster' }, near)
  return { time, network, a, b, near, far, stream }
}

const frame = (type: number): Uint8Array => Uint8Array.from([0x0a, 1, type])

function frameOf(bytes: number): Uint8Array {
  const w = new ByteWriter(bytes + FRAME_HEADROOM)
  beginFrame(w, FrameType.request)
  w.raw(new Uint8Array(bytes))
  return finishFrame(w)
}

describe('the simulated network', () => {
  it('delivers what is sent, in order, and an orderly end behind it', async () => {
    const { time, stream, far, near } = bench()
    await time.advance(10)
    for (const type of [1, 2, 3]) stream.send(frame(type))
    stream.close()
    await time.advance(100)
    expect(far.heard).toEqual(['frame 1', 'frame 2', 'frame 3', 'closed'])
    expect(near.heard).toEqual(['closed'])
  })

  it('says that a buffer has drained, whatever a send below the mark said meanwhile', async () => {
    const time = new VirtualTime()
    const network = new SimulatedNetwork(time, new SeededRandom(1), {
      slowShare: 0,
      latencyMinMs: 1,
      latencyMaxMs: 1,
    })
    const near = new Ear()
    network.listen('b:1', new SimulatedHost('b', time), () => new Ear())
    const stream = network.dialer(new SimulatedHost('a', time)).open('b:1', { service: 'cluster' }, near)
    await time.advance(10)
    const large = frameOf(40_000)
    expect(stream.send(large)).toBe(true)
    await time.advance(0.5)
    expect(stream.send(large)).toBe(false)
    await time.advance(0.6)
    expect(stream.send(frame(1))).toBe(true)
    await time.advance(10)
    expect(near.heard).toEqual(['drained'])
  })

  it('holds frames back while the link is cut', async () => {
    const { time, network, stream, far } = bench()
    await time.advance(10)
    network.cut('a', 'b')
    stream.send(frame(1))
    await time.advance(1000)
    expect(far.heard).toEqual([])
    network.heal('a', 'b')
    await time.advance(10)
    expect(far.heard).toEqual(['frame 1'])
  })

  it('tells the others that a host crashed, and the crashed process nothing at all', async () => {
    const { time, network, a, stream, near, far } = bench()
    await time.advance(10)
    stream.send(frame(1))
    a.crash()
    network.crash(a)
    await time.advance(100)
    expect(far.heard).toEqual(['broken'])
    expect(near.heard).toEqual([])
  })

  it('tells a process that crashed after its stream broke nothing either, though its host lives on', async () => {
    const { time, network, a, b, near, far } = bench()
    await time.advance(10)
    b.crash()
    network.crash(b)
    // The reset is under way to a when a crashes too.
    a.crash()
    network.crash(a)
    await time.advance(100)
    expect(near.heard).toEqual([])
    expect(far.heard).toEqual([])
  })

  it('refuses connections to where nobody listens', async () => {
    const { time, network, a } = bench()
    const ear = new Ear()
    network.dialer(a).open('c:1', { service: 'cluster' }, ear)
    await time.advance(100)
    expect(ear.heard).toEqual(['broken'])
  })

  it('fills the sender while the receiving process stands still, and drains once it goes on', async () => {
    const { time, b, stream, near, far } = bench()
    await time.advance(10)
    b.pause()
    let sent = 0
    while (stream.send(frameOf(20_000))) {
      sent++
      await time.advance(50)
    }
    // What the receiving machine takes in, and what the sender may queue.
    expect(sent).toBeGreaterThanOrEqual(6)
    expect(sent).toBeLessThanOrEqual(8)
    await time.advance(5000)
    expect(near.heard).toEqual([])
    expect(far.heard).toEqual([])
    b.resume()
    await time.advance(100)
    expect(near.heard).toEqual(['drained'])
    expect(far.heard).toHaveLength(sent + 1)
  })

  it('lets frames of a slow route take longer, one way', async () => {
    const { time, network, stream, far } = bench()
    await time.advance(10)
    network.delay('a', 'b', 300)
    stream.send(frame(1))
    await time.advance(290)
    expect(far.heard).toEqual([])
    network.delay('a', 'b', 0)
    await time.advance(20)
    expect(far.heard).toEqual(['frame 1'])
  })

  it('says nothing of a machine without power, and resets its streams once it is back', async () => {
    const { time, network, b, a, stream, near } = bench()
    await time.advance(10)
    b.crash()
    network.powerOff(b)
    stream.send(frame(1))
    const late = new Ear()
    network.dialer(a).open('b:1', { service: 'cluster', connectTimeoutMs: 300 }, late)
    await time.advance(290)
    expect([...near.heard, ...late.heard]).toEqual([])
    await time.advance(30)
    expect(late.heard).toEqual(['broken'])
    await time.advance(60_000)
    expect(near.heard).toEqual([])
    network.powerOn(b)
    await time.advance(100)
    expect(near.heard).toEqual(['broken'])
  })
})
