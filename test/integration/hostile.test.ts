/** A real node on a real socket, and clients that mean no good. All the while an honest one has to be served. */

import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import { connect as connectSocket, type Socket } from 'node:net'
import { Client, type ClientDuplexStream, credentials, Metadata, type ServiceError } from '@grpc/grpc-js'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { EXCHANGE_PATHS } from '../../src/adapters/grpc/channel-options.ts'
import { GrpcDialer } from '../../src/adapters/grpc/dialer.ts'
import { ByteReader, ByteWriter } from '../../src/kernel/bytes.ts'
import type { CacheError } from '../../src/kernel/errors.ts'
import { integerBetween, SeededRandom } from '../../src/kernel/random.ts'
import { FRAME_HEADROOM, FrameType, openFrame, sealFrame } from '../../src/wire/frames.ts'
import { decodeError, encodeHello } from '../../src/wire/handshake.ts'
import { beginRequest, Opcode, writeOperationStart, writeTarget } from '../../src/wire/operations.ts'
import { written } from '../support/cluster-bench.ts'
import { mutated, noise } from '../support/hostile-bytes.ts'
import { type NodeCluster, startNodeCluster } from '../support/node-cluster.ts'
import { RawClient } from '../support/raw-client.ts'
import { RequestMaker } from '../support/valid-requests.ts'

const PORT = 7800
const ADDRESS = `127.0.0.1:${PORT}`
const MIB = 1024 * 1024

type Call = ClientDuplexStream<Buffer, Buffer>

describe('a node among hostile clients', () => {
  let cluster: NodeCluster
  let dialer: GrpcDialer
  let honest: RawClient
  const clients: Client[] = []

  beforeAll(async () => {
    cluster = await startNodeCluster(PORT, 1, {
      memory: { limit: '1gb' },
      limits: { streams: 200, credit: '1mb' },
    })
    dialer = new GrpcDialer()
    honest = new RawClient(dialer, ADDRESS, '00000000000000ab')
    await honest.opened()
  })
  afterEach(async () => {
    for (const client of clients.splice(0)) client.close()
    expect(honest.ended).toBe(false)
    expect(written(await honest.set('honest', new Uint8Array(3)))).toBeGreaterThan(0)
  })
  afterAll(async () => {
    honest.close()
    dialer.close()
    await cluster.close()
  })

  function client(): Client {
    const one = new Client(ADDRESS, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      'grpc-node.flow_control_window': 64 * 1024,
    })
    clients.push(one)
    return one
  }

  it('answers messages that are no protobuf, or no frames, on that stream alone', async () => {
    const random = new SeededRandom(1)
    const one = client()
    const maker = new RequestMaker(random, { keys: 20, partitions: 64, regions: 1 })
    const codes = new Set<string>()
    for (let i = 0; i < 300; i++) {
      const { call, error } = exchange(one)
      if (i % 3 === 0) call.write(Buffer.from(noise(random, 300)))
      else {
        call.write(Buffer.from(hello(i)))
        const body = mutated(random, maker.request(), i % 2 === 0 ? 10 : 1)
        call.write(i % 3 === 1 ? enveloped(body) : Buffer.from(mutated(random, enveloped(body))))
        call.write(enveloped(Uint8Array.from([0x7e])))
      }
      codes.add((await error)?.code ?? 'none')
      call.cancel()
    }
    expect([...codes]).toEqual(['PROTOCOL_ERROR'])
  })

  it('tells an unknown protocol version which ones it speaks', async () => {
    for (const [min, max] of [
      [2, 9],
      [0, 0],
      [65_535, 65_535],
    ] as const) {
      const { call, error } = exchange(client())
      call.write(Buffer.from(hello(1, min, max)))
      expect(await error).toMatchObject({
        code: 'VERSION_MISMATCH',
        message: expect.stringContaining(`1 to 1, the other side ${min} to ${max}`),
      })
    }
  })

  it('refuses unary calls whose message is no protobuf, or makes no sense', async () => {
    const random = new SeededRandom(2)
    const one = client()
    const statuses = new Set<number>()
    for (let i = 0; i < 200; i++) {
      const method = ['Get', 'Set', 'Delete', 'Scan', 'Batch', 'Increment', 'Clear'][
        integerBetween(random, 0, 6)
      ] as string
      statuses.add(await unary(one, method, Buffer.from(noise(random, 60))))
    }
    statuses.delete(0)
    // INVALID_ARGUMENT and the like; 13 is what grpc-js says of a message that can't be parsed. Never 2, an exception.
    for (const status of statuses) expect([3, 5, 9, 12, 13]).toContain(status)
  })

  it('holds little for a client that asks much and never reads', async () => {
    const value = new Uint8Array(60_000).fill(1)
    expect(written(await honest.set('large', value))).toBeGreaterThan(0)
    const before = process.memoryUsage().arrayBuffers
    const sessions: ClientHttp2Session[] = []
    for (let i = 0; i < 8; i++) {
      // Not a gRPC library: those read on even when nobody listens.
      const session = connectHttp2(`http://${ADDRESS}`)
      session.on('error', () => {})
      const stream = session.request({
        ':method': 'POST',
        ':path': EXCHANGE_PATHS.cache,
        'content-type': 'application/grpc',
        te: 'trailers',
      })
      stream.on('error', () => {})
      stream.pause()
      stream.write(prefixed(hello(1000 + i)))
      for (let j = 0; j < 30; j++) stream.write(prefixed(gets('large', 200)))
      sessions.push(session)
    }
    // 8 × 30 × 200 × 60,000 bytes were asked for: 2.9 GB.
    let highest = 0
    for (let i = 0; i < 50; i++) {
      expect(written(await honest.set('honest', new Uint8Array(10)))).toBeGreaterThan(0)
      highest = Math.max(highest, process.memoryUsage().arrayBuffers)
      await pause(20)
    }
    expect(highest - before).toBeGreaterThan(8 * MIB)
    expect(highest - before).toBeLessThan(64 * MIB)
    for (const session of sessions) session.destroy()
  })

  it('refuses the streams beyond its limits of a client that opens a thousand', async () => {
    const codes = new Map<string, number>()
    const calls: Call[] = []
    const answers: Promise<void>[] = []
    for (let i = 0; i < 60; i++) {
      const one = client()
      for (let j = 0; j < 17; j++) {
        const { call, error, welcomed } = exchange(one)
        call.write(Buffer.from(hello(5000 + i * 20 + j)))
        calls.push(call)
        answers.push(
          Promise.race([error.then((it) => it?.code ?? 'ended'), welcomed.then(() => 'welcome')]).then(
            (what) => {
              codes.set(what, (codes.get(what) ?? 0) + 1)
            },
          ),
        )
      }
    }
    await Promise.all(answers)
    expect([...codes.keys()].sort()).toEqual(['OVERLOADED', 'welcome'])
    expect(codes.get('welcome')).toBeLessThanOrEqual(200)
    expect(codes.get('OVERLOADED')).toBeGreaterThan(800)
    expect(cluster.nodes[0]?.status().sessions).toBeLessThanOrEqual(200)
    for (const call of calls) call.cancel()
    for (let i = 0; i < 200 && (cluster.nodes[0]?.status().sessions ?? 0) > 5; i++) await pause(20)
    expect(cluster.nodes[0]?.status().sessions).toBeLessThanOrEqual(5)
  })

  it('is not impressed by sockets that speak no HTTP/2, or nothing at all', async () => {
    const random = new SeededRandom(3)
    const sockets: Socket[] = []
    for (let i = 0; i < 60; i++) {
      const socket = connectSocket(PORT, '127.0.0.1')
      socket.on('error', () => {})
      socket.on('data', () => {})
      if (i % 3 === 0) socket.write(noise(random, 2000))
      if (i % 3 === 1) {
        socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
        for (let j = 0; j < 20; j++) socket.write(noise(random, 500))
      }
      sockets.push(socket)
    }
    await pause(300)
    expect(written(await honest.set('honest', new Uint8Array(3)))).toBeGreaterThan(0)
    for (const socket of sockets) socket.destroy()
  })
})

function exchange(client: Client): {
  call: Call
  error: Promise<CacheError | undefined>
  welcomed: Promise<void>
} {
  const call = client.makeBidiStreamRequest(EXCHANGE_PATHS.cache, identity, identity) as Call
  let greet: () => void = () => {}
  const welcomed = new Promise<void>((resolve) => {
    greet = resolve
  })
  const error = new Promise<CacheError | undefined>((resolve) => {
    call.on('data', (message: Buffer) => {
      const body = openFrame(message)
      if (body[0] === FrameType.welcome) greet()
      if (body[0] === FrameType.error) resolve(decodeError(new ByteReader(body, 1)))
    })
    call.on('error', () => resolve(undefined))
    call.on('end', () => resolve(undefined))
  })
  return { call, error, welcomed }
}

function unary(client: Client, method: string, message: Buffer): Promise<number> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      `/ringcache.v1.Cache/${method}`,
      identity,
      identity,
      message,
      new Metadata(),
      { deadline: Date.now() + 5000 },
      (error: ServiceError | null) => resolve(error?.code ?? 0),
    )
  })
}

function hello(n: number, versionMin = 1, versionMax = 1): Uint8Array {
  return encodeHello({
    versionMin,
    versionMax,
    lane: 'operations',
    session: n.toString(16).padStart(16, '0'),
    streamNumber: 1,
    clusterId: '',
    clientName: 'hostile',
    token: '',
    timeoutMs: 1000,
  })
}

function enveloped(body: Uint8Array): Buffer {
  const message = Buffer.alloc(FRAME_HEADROOM + body.length)
  message.set(body, FRAME_HEADROOM)
  sealFrame(message)
  return message
}

function gets(key: string, count: number): Uint8Array {
  const w = new ByteWriter(256)
  const bytes = new TextEncoder().encode(key)
  beginRequest(w, 1, 0, 1)
  for (let i = 0; i < count; i++) {
    writeOperationStart(w, Opcode.get, 0, 0)
    writeTarget(w, 0, 0, bytes, 0, bytes.length)
  }
  const message = w.toBytes()
  sealFrame(message)
  return message
}

/** gRPC's framing: not compressed, four bytes of length. */
function prefixed(message: Uint8Array): Buffer {
  const bytes = Buffer.alloc(5 + message.length)
  bytes.writeUInt32BE(message.length, 1)
  bytes.set(message, 5)
  return bytes
}

function identity(bytes: Buffer): Buffer {
  return bytes
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
