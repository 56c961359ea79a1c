/** What the gRPC transport keeps beyond the contract: bounds, hostile peers, errors that name the next step. */

import { createServer, type Server } from 'node:net'
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { EXCHANGE_PATHS } from '../../src/adapters/grpc/channel-options.ts'
import { GrpcDialer } from '../../src/adapters/grpc/dialer.ts'
import { GrpcServer } from '../../src/adapters/grpc/server.ts'
import { ByteReader } from '../../src/kernel/bytes.ts'
import type { CacheError } from '../../src/kernel/errors.ts'
import { FrameType, openFrame } from '../../src/wire/frames.ts'
import { decodeError } from '../../src/wire/handshake.ts'
import { frame, Recorder } from './transport.contract.ts'

const ADDRESS = '127.0.0.1:7555'

describe('gRPC transport', () => {
  let server: GrpcServer
  let dialer: GrpcDialer
  let accepted: Recorder[]

  beforeEach(async () => {
    accepted = []
    dialer = new GrpcDialer()
    server = await GrpcServer.listen(ADDRESS, {
      accept: (_service, stream) => {
        const recorder = new Recorder()
        recorder.stream = stream
        accepted.push(recorder)
        return recorder
      },
      streamsMax: { cache: 5, cluster: 1 },
      streamsPerConnectionMax: 3,
    })
  })
  afterEach(async () => {
    dialer.close()
    await server.close(0)
  })

  it('names the port and the way out when the port is in use', async () => {
    await expect(
      GrpcServer.listen(ADDRESS, { accept: () => new Recorder(), streamsMax: { cache: 1, cluster: 1 } }),
    ).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringMatching(/port 7555 is already in use.*cluster\.yaml/),
    })
  })

  it('refuses an address that is none', async () => {
    await expect(
      GrpcServer.listen('7555', { accept: () => new Recorder(), streamsMax: { cache: 1, cluster: 1 } }),
    ).rejects.toMatchObject({
      code: 'CONFIGURATION',
    })
  })

  it('frees the port when it closes, though clients are connected', async () => {
    const near = open()
    await until(() => accepted.length === 1)
    await server.close(50)
    expect(near.ends.length + (accepted[0] as Recorder).ends.length).toBeGreaterThan(0)
    server = await GrpcServer.listen(ADDRESS, {
      accept: () => new Recorder(),
      streamsMax: { cache: 1, cluster: 1 },
    })
  })

  it('gives up connecting to a process that accepts but does not answer', async () => {
    const sockets: import('node:net').Socket[] = []
    const hung: Server = createServer((socket) => sockets.push(socket))
    await new Promise<void>((resolve) => hung.listen(7556, '127.0.0.1', resolve))
    const near = new Recorder()
    dialer.open('127.0.0.1:7556', { service: 'cache', connectTimeoutMs: 80 }, near)
    await until(() => near.ends.length === 1)
    expect(near.ends[0]).toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('within 80 ms'),
      failure: 'timeout',
    })
    for (const socket of sockets) socket.destroy()
    hung.close()
  })

  it('tells a connection that breaks off from one that is refused', async () => {
    const rude: Server = createServer((socket) => socket.destroy())
    await new Promise<void>((resolve) => rude.listen(7557, '127.0.0.1', resolve))
    const near = new Recorder()
    dialer.open('127.0.0.1:7557', { service: 'cluster' }, near)
    await until(() => near.ends.length === 1)
    expect(near.ends[0]).toMatchObject({ code: 'UNAVAILABLE', failure: 'reset' })
    await new Promise((resolve) => rude.close(resolve))
    const late = new Recorder()
    // By name too, which may stand for several addresses.
    for (const host of ['127.0.0.1', 'localhost']) dialer.open(`${host}:7557`, { service: 'cluster' }, late)
    await until(() => late.ends.length === 2)
    expect(late.ends).toMatchObject([{ failure: 'refused' }, { failure: 'refused' }])
  })

  it('tells that a stream was reset from its orderly end', async () => {
    const near = open()
    await until(() => accepted.length === 1)
    await server.close(0)
    await until(() => near.ends.length === 1)
    expect(near.ends[0]).toMatchObject({ code: 'UNAVAILABLE', failure: 'reset' })
    server = await GrpcServer.listen(ADDRESS, {
      accept: () => new Recorder(),
      streamsMax: { cache: 1, cluster: 1 },
    })
  })

  it('reports a bad address through closed', async () => {
    const near = new Recorder()
    dialer.open('not an address:::', { service: 'cache' }, near)
    await until(() => near.ends.length === 1)
    expect(near.log).toEqual(['closed'])
  })

  it('tells a client that opens too many streams, and serves the others', async () => {
    const streams = Array.from({ length: 8 }, () => open())
    await until(() => streams.filter((stream) => stream.ends.length > 0).length === 3)
    const refused = streams.filter((stream) => stream.ends.length > 0)
    for (const stream of refused) {
      expect(errorIn(stream)).toMatchObject({
        code: 'OVERLOADED',
        message: expect.stringContaining('as many as are allowed'),
      })
      expect(stream.ends).toEqual([undefined])
    }
    expect(server.streams).toBe(5)
    const served = streams.find((stream) => stream.ends.length === 0) as Recorder
    served.stream.close()
    await until(() => server.streams === 4)
    const another = open()
    another.stream.send(frame(10, 1))
    await until(() => accepted.at(-1)?.bodies.length === 1)
  })

  it('limits the streams of one connection', async () => {
    const client = new Client(ADDRESS, credentials.createInsecure())
    const replies: Buffer[] = []
    const calls = Array.from({ length: 10 }, () => rawCall(client, (reply) => replies.push(reply)))
    await until(() => replies.length === 7)
    expect(decodeErrorFrame(replies[0] as Buffer)).toMatchObject({ code: 'OVERLOADED' })
    expect(accepted.length).toBe(3)
    for (const call of calls) call.cancel()
    await until(() => server.streams === 0)
    client.close()
  })

  it.each([
    ['no protobuf', Buffer.from([0xff, 0xff, 0xff])],
    ['nothing', Buffer.alloc(0)],
    ['an empty body', Buffer.from([0x0a, 0x00])],
    ['a length beyond the message', Buffer.from([0x0a, 0x7f, 0x02])],
  ])('answers %s with a PROTOCOL_ERROR frame and ends that stream only', async (_what, bytes) => {
    const good = open()
    await until(() => accepted.length === 1)
    const client = new Client(ADDRESS, credentials.createInsecure())
    const replies: Buffer[] = []
    const call = rawCall(client, (reply) => replies.push(reply))
    call.write(bytes)
    await until(() => replies.length === 1 && accepted[1]?.ends.length === 1)
    expect(decodeErrorFrame(replies[0] as Buffer).code).toBe('PROTOCOL_ERROR')
    expect(accepted[1]?.ends[0]?.code).toBe('PROTOCOL_ERROR')
    expect(accepted[1]?.bodies).toEqual([])
    good.stream.send(frame(10, 1))
    await until(() => accepted[0]?.bodies.length === 1)
    client.close()
  })

  it('refuses a message above the limit before it is whole', async () => {
    const client = new Client(ADDRESS, credentials.createInsecure(), { 'grpc.max_send_message_length': -1 })
    const replies: Buffer[] = []
    const call = rawCall(client, (reply) => replies.push(reply))
    call.write(Buffer.alloc(8 * 1024 * 1024))
    await until(() => replies.length === 1 && accepted[0]?.ends.length === 1)
    expect(decodeErrorFrame(replies[0] as Buffer)).toMatchObject({
      code: 'PROTOCOL_ERROR',
      message: expect.stringContaining('8388608 bytes exceeds'),
    })
    expect(accepted[0]?.bodies).toEqual([])
    client.close()
  })

  it('ends a stream whose handler throws, with the error, and goes on serving', async () => {
    const near = open()
    await until(() => accepted.length === 1)
    const far = accepted[0] as Recorder
    far.onFrame = () => {
      throw new Error('a bug')
    }
    near.stream.send(frame(10, 0))
    await until(() => near.ends.length === 1 && accepted[0]?.ends.length === 1)
    expect(errorIn(near)?.code).toBe('INTERNAL')
    expect(accepted[0]?.ends[0]?.code).toBe('INTERNAL')
    open()
    await until(() => accepted.length === 2)
  })

  it('answers an unknown method as gRPC does', async () => {
    const client = new Client(ADDRESS, credentials.createInsecure())
    const error = await new Promise<ServiceError | null>((resolve) =>
      client.makeUnaryRequest(
        '/ringcache.v1.Cache/Nope',
        identity,
        identity,
        Buffer.alloc(0),
        new Metadata(),
        resolve,
      ),
    )
    expect(error?.code).toBe(12)
    client.close()
  })

  function open(): Recorder {
    const near = new Recorder()
    near.stream = dialer.open(ADDRESS, { service: 'cache' }, near)
    return near
  }
})

function rawCall(client: Client, onReply: (reply: Buffer) => void) {
  const call = client.makeBidiStreamRequest(EXCHANGE_PATHS.cache, identity, identity)
  call.on('data', onReply)
  call.on('error', () => {})
  return call
}

function identity(bytes: Buffer): Buffer {
  return bytes
}

function errorIn(recorder: Recorder): CacheError | undefined {
  const body = recorder.bodies.at(-1)
  return body?.[0] === FrameType.error ? decodeError(new ByteReader(body, 1)) : undefined
}

function decodeErrorFrame(message: Buffer): CacheError {
  return decodeError(new ByteReader(openFrame(message), 1))
}

async function until(condition: () => boolean): Promise<void> {
  const giveUpAt = performance.now() + 5000
  while (!condition()) {
    if (performance.now() > giveUpAt) throw new Error(`does not hold within 5 s: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}
