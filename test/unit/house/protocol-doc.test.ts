/**
 * docs/protocol.md says what the code does: its examples are sent to a node and its tables are compared with the
 * constants.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { decompress } from '../../../src/client/codecs/compression.ts'
import { ByteReader } from '../../../src/kernel/bytes.ts'
import { xxh32 } from '../../../src/kernel/hash.ts'
import { partitionOf } from '../../../src/kernel/key.ts'
import { silentLog } from '../../../src/kernel/log.ts'
import { SeededRandom } from '../../../src/kernel/random.ts'
import { NodeCore } from '../../../src/node/node-core.ts'
import { SINGLE_NODE } from '../../../src/node/options.ts'
import { EffectKind } from '../../../src/replication/effects.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'
import { decodeTopology, encodeTopology } from '../../../src/topology/codec.ts'
import { FRAME_BYTES_MAX, FrameType, INLINE_VALUE_BYTES_MAX, openFrame } from '../../../src/wire/frames.ts'
import { decodeHello, decodeWelcome } from '../../../src/wire/handshake.ts'
import { LoopbackNetwork } from '../../../src/wire/loopback.ts'
import { Codec, Flag, Opcode, Operation, readOperation, TTL_MS_MAX } from '../../../src/wire/operations.ts'
import { Rejection } from '../../../src/wire/peer-frames.ts'
import { Status } from '../../../src/wire/results.ts'

const ROOT = join(import.meta.dirname, '../../..')
const DOCUMENT = readFileSync(join(ROOT, 'docs/protocol.md'), 'utf8')

/** The bytes of a block that begins with "```hex NAME"; "#" begins a comment. */
function example(name: string): Uint8Array {
  const block = new RegExp(`^\`\`\`hex ${name}\n([\\s\\S]*?)^\`\`\``, 'm').exec(DOCUMENT)?.[1]
  if (block === undefined) throw new Error(`docs/protocol.md has no example "${name}"`)
  const digits = block.replace(/#.*$/gm, '').replace(/\s+/g, '')
  expect(digits).toMatch(/^([0-9a-f]{2})+$/)
  return Uint8Array.from(Buffer.from(digits, 'hex'))
}

/** What stands in this section under a heading, up to the next of any level. */
function section(heading: string): string {
  const text = new RegExp(`^#+ ${heading}\n([\\s\\S]*?)(?=^#+ )`, 'm').exec(`${DOCUMENT}\n# end`)?.[1]
  if (text === undefined) throw new Error(`docs/protocol.md has no section "${heading}"`)
  return text
}

/** Rows "| `number` | NAME | …" of a section, as name → number. */
function numbers(text: string): Record<string, number> {
  const rows = text.matchAll(/^\| `(0x[0-9a-f]+|\d+)` \| ([A-Z][A-Z0-9_]*) \|/gm)
  return Object.fromEntries([...rows].map(([, number, name]) => [name, Number(number)]))
}

const shouted = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
const shout = (table: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(table).map(([name, number]) => [shouted(name), number]))

/** A node of a cluster of one, and a stream to it. */
function openStream(): { send(message: Uint8Array): Promise<Uint8Array[]> } {
  const time = new VirtualTime()
  const network = new LoopbackNetwork(time)
  const node = new NodeCore(
    { ...SINGLE_NODE, partitionCount: 4 },
    {
      clock: time,
      scheduler: time,
      random: new SeededRandom(1),
      log: silentLog,
      dialer: network.dialer(),
      uncompress: (stored) => stored,
    },
  )
  network.listen('node', node.accept)
  node.start()
  let received: Uint8Array[] = []
  const stream = network.dialer().open(
    'node',
    { service: 'cache' },
    {
      frame: (body) => received.push(body),
      drained: () => {},
      closed: (error) => {
        throw new Error(`the node closed the stream: ${error?.message}`)
      },
    },
  )
  return {
    async send(message) {
      received = []
      stream.send(message)
      await time.until(new Promise<void>((resolve) => time.after(5, resolve)))
      return received
    },
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

it('the example HELLO is the frame it is said to be', () => {
  const r = new ByteReader(openFrame(example('hello')))
  expect(r.uint8()).toBe(FrameType.hello)
  expect(decodeHello(r)).toEqual({
    versionMin: 1,
    versionMax: 1,
    lane: 'operations',
    session: '0123456789abcdef',
    streamNumber: 1,
    clusterId: '',
    clientName: 'doc',
    token: '',
    timeoutMs: 2000,
  })
  expect(r.remaining).toBe(0)
})

it('a node answers the example requests with the example responses', async () => {
  const stream = openStream()
  const [welcome] = await stream.send(example('hello'))
  const r = new ByteReader(welcome as Uint8Array)
  expect(r.uint8()).toBe(FrameType.welcome)
  const { version, topology } = decodeWelcome(r)
  expect(version).toBe(1)
  expect(decodeTopology(topology).partitions).toHaveLength(4)
  for (const suffix of ['', '-full']) {
    const answers = await stream.send(example(`request${suffix}`))
    expect(answers.map(hex)).toEqual([hex(openFrame(example(`response${suffix}`)))])
  }
})

it('the full SET has the fields it is said to have', () => {
  const r = new ByteReader(openFrame(example('request-full')), 1)
  expect([r.uint32(), r.uint32(), r.varint()]).toEqual([2, 3, 2])
  const op = new Operation()
  readOperation(r, op)
  expect(op).toMatchObject({
    opcode: Opcode.set,
    flags: Flag.ttl | (2 << 2) | (3 << 4) | Flag.tags,
    counter: 2,
    ttlMs: 60_000,
    conditionEpoch: 1,
    conditionSequence: 1,
    tagCount: 2,
    codec: Codec.msgpack,
  })
  expect(r.remaining).toBe(0)
})

it('the example topology is read and written back unchanged', () => {
  const bytes = example('topology')
  const topology = decodeTopology(bytes)
  expect(topology).toMatchObject({ clusterId: '00112233445566778899aabbccddeeff', epoch: 1 })
  expect(topology.regions).toMatchObject([
    { regionId: 0, name: 'default', policy: 'lru', durability: 'quorum', read: 'primary', minInSync: 1 },
  ])
  expect(hex(encodeTopology(topology, 'client'))).toBe(hex(bytes))
})

it('the example of compression holds 2,000 letters', () => {
  const raw = decompress(new ByteReader(example('lz4')), 10_000)
  expect(Buffer.from(raw).toString()).toBe('a'.repeat(2000))
})

it('keys belong to the partitions in the table', () => {
  const rows = [
    ...section('Which partition').matchAll(/^\| (\d+) \| `([^`]+)` \| `0x([0-9a-f]{8})` \| (\d+) \|$/gm),
  ]
  expect(rows.length).toBeGreaterThan(5)
  for (const [, region, key, hash, partition] of rows) {
    const bytes = Buffer.from(key as string)
    expect(partitionOf(bytes, 0, bytes.length, Number(region), 1024), key).toBe(Number(partition))
    expect(partitionOf(bytes, 0, bytes.length, Number(region), 2 ** 32), key).toBe(Number(`0x${hash}`))
  }
  expect(xxh32(Buffer.from('user:1'), 0, 6, 0)).toBe(0x7d366961)
})

it('the tables of frames, opcodes, statuses and codecs are those of the code', () => {
  expect(numbers(section('Frames'))).toEqual(shout(FrameType))
  expect(numbers(section('Operations'))).toEqual(shout(Opcode))
  const { error, ...statuses } = Status
  expect(numbers(section('Results'))).toEqual(shout(statuses))
  expect(section('Results')).toContain(`\`0x${error.toString(16)}\` + n`)
  const { lz4, mask, ...codecs } = Codec
  expect(numbers(section('Values'))).toEqual(shout(codecs))
  expect([lz4, mask]).toEqual([8, 7])
})

it('flags, effects, rejections and limits are those of the code', () => {
  const flags = [...section('Flags').matchAll(/^\| `(0x[0-9a-f]{2})` \|/gm)].map(([, flag]) => Number(flag))
  expect(new Set(flags)).toEqual(new Set(Object.values(Flag)))
  const effects = [...section('Between nodes').matchAll(/`(\d)` ([a-z]+)/g)]
  expect(Object.fromEntries(effects.map(([, number, name]) => [name, Number(number)]))).toEqual(EffectKind)
  const rejections =
    /rejected: 1 epoch, 2 gap, 3 value not staged, 4 memory full, 5 no role, 6 region not known yet/
  expect(section('Replication').replace(/\s+/g, ' ')).toMatch(rejections)
  expect(Object.values(Rejection)).toEqual([1, 2, 3, 4, 5, 6])
  for (const limit of [FRAME_BYTES_MAX, INLINE_VALUE_BYTES_MAX, TTL_MS_MAX]) {
    expect(DOCUMENT).toContain(limit.toLocaleString('en'))
  }
})
