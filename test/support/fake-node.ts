/**
 * A cluster of nodes that speak the wire protocol from a map in memory: what client tests talk to. Replicas hold what their
 * primary holds, at once. A test can look at what arrived, hold answers back, fail them, or answer with bytes of its own.
 */

import { ByteReader, ByteWriter } from '../../src/kernel/bytes.ts'
import { CacheError, type ErrorCode } from '../../src/kernel/errors.ts'
import { xxh32 } from '../../src/kernel/hash.ts'
import type { ClusterId, Epoch, Incarnation, NodeId, PartitionEpoch, RegionId } from '../../src/kernel/ids.ts'
import { encodeTopology } from '../../src/topology/codec.ts'
import type { NodeRecord, Topology } from '../../src/topology/topology.ts'
import { locate, NO_RING } from '../../src/topology/topology.ts'
import { isCheck, readAtomicMember } from '../../src/wire/atomic.ts'
import {
  beginFrame,
  DOWNLOAD_CHUNK_BYTES,
  FrameType,
  finishFrame,
  INLINE_VALUE_BYTES_MAX,
} from '../../src/wire/frames.ts'
import { decodeHello, encodeError, encodeWelcome, type Hello } from '../../src/wire/handshake.ts'
import type { LoopbackNetwork } from '../../src/wire/loopback.ts'
import { Codec, ConditionCode, Flag, Opcode, Operation, readOperation } from '../../src/wire/operations.ts'
import { Status, writeEntryMeta, writeErrorResult, writeResult } from '../../src/wire/results.ts'
import type { FrameHandler, FrameStream, StreamService } from '../../src/wire/transport.ts'

export interface FakeClusterOptions {
  readonly nodes?: number
  readonly partitions?: number
  readonly clusterId?: string
  readonly valueBytesMax?: number
  readonly creditBytes?: number
  readonly operationsMax?: number
  readonly wallMs?: () => number
}

interface Stored {
  codec: number
  value: Uint8Array
  sequence: number
  createdAtMs: number
  expiresAtMs: number
  tags: string[]
}

/** An operation as it arrived, for assertions. */
export interface Received {
  readonly opcode: number
  readonly key: string
  readonly counter: number
  readonly session: string
  readonly timeoutMs: number
  readonly readKind: number
  /** −1: none given. */
  readonly ttlMs: number
  /** 0: none given. */
  readonly durability: number
  readonly requestId: number
  readonly frameNumber: number
  readonly firstIncomplete: number
}

export class FakeCluster {
  readonly nodes: FakeNode[] = []
  readonly options: Required<FakeClusterOptions>
  topology: Topology
  /** Per partition: primary and replicas hold the same. */
  readonly #stores: Map<string, Stored>[]
  readonly #network: LoopbackNetwork
  sequence = 0

  constructor(network: LoopbackNetwork, options: FakeClusterOptions = {}) {
    this.#network = network
    this.options = {
      nodes: 3,
      partitions: 16,
      clusterId: '00112233445566778899aabbccddeeff',
      valueBytesMax: 16 * 1024 * 1024,
      creditBytes: 16 * 1024 * 1024,
      operationsMax: 1 << 20,
      wallMs: () => 0,
      ...options,
    }
    this.topology = makeTopology(this.options)
    this.#stores = this.topology.partitions.map(() => new Map<string, Stored>())
    this.topology.nodes.forEach((record, index) => {
      const node = new FakeNode(this, index, record.nodeId)
      this.nodes.push(node)
      network.listen(record.address, (service, stream) => node.accept(service, stream))
    })
  }

  get addresses(): string[] {
    return this.topology.nodes.map((node) => node.address)
  }

  store(partition: number): Map<string, Stored> {
    return this.#stores[partition] as Map<string, Stored>
  }

  /** The node is killed: its streams are reset and connections refused. */
  kill(index: number): void {
    this.#network.unlisten(this.addresses[index] as string)
  }

  /** It listens again, at the same address. */
  revive(index: number): void {
    const node = this.nodes[index] as FakeNode
    this.#network.listen(this.addresses[index] as string, (service, stream) => node.accept(service, stream))
  }

  partitionOf(key: string, regionId = 1): number {
    const bytes = Buffer.from(key)
    const group = this.topology.groups[0]
    if (group === undefined) throw new Error('no group')
    return locate(group, regionId, bytes, 0, bytes.length)
  }

  primaryOf(key: string): FakeNode {
    return this.nodes[this.topology.partitions[this.partitionOf(key)]?.primary as number] as FakeNode
  }

  /** Every operation that reached any node, in order per node. */
  get received(): Received[] {
    return this.nodes.flatMap((node) => node.received)
  }
}

export class FakeNode {
  readonly cluster: FakeCluster
  readonly index: number
  readonly nodeId: string
  readonly hellos: Hello[] = []
  readonly received: Received[] = []
  readonly cancelled: number[] = []
  /** Values uploaded on the newest bulk stream that no write has named. */
  uploadsHeld = 0
  /** Request frames that arrived, by number of operations. */
  readonly frames: number[] = []
  /** Streams that are open. */
  readonly streams: Set<FrameStream> = new Set()
  /** Off for benchmarks: nothing is kept of what arrives. */
  recordOperations = true
  /** `hold`: no answer. An error code: answered with it. Undefined: answered as it should be. */
  behave: ((op: Received) => 'hold' | ErrorCode | undefined) | undefined
  /** While true nothing at all is answered, not even frames. */
  silent = false
  /** Sends WELCOME without a topology. */
  notReady = false
  /** Of the process, when it is another than the topology names: it has no role. */
  incarnation: string | undefined
  /** May replace a response frame on its way out. */
  tamper: ((message: Uint8Array) => Uint8Array | undefined) | undefined

  constructor(cluster: FakeCluster, index: number, nodeId: string) {
    this.cluster = cluster
    this.index = index
    this.nodeId = nodeId
  }

  accept(_service: StreamService, stream: FrameStream): FrameHandler {
    this.streams.add(stream)
    const session = new FakeSession(this, stream)
    return {
      frame: (body) => session.frame(body),
      drained: () => {},
      closed: () => this.streams.delete(stream),
    }
  }

  /** Pushes a topology to every stream. */
  push(topology: Topology): void {
    for (const stream of this.streams) {
      const w = new ByteWriter(1024)
      beginFrame(w, FrameType.topology)
      w.blob(encodeTopology(topology, 'client'))
      stream.send(finishFrame(w))
    }
  }

  goAway(): void {
    for (const stream of this.streams) {
      const w = new ByteWriter(16)
      beginFrame(w, FrameType.goAway)
      stream.send(finishFrame(w))
    }
  }
}

class FakeSession {
  readonly #node: FakeNode
  readonly #stream: FrameStream
  readonly #uploads = new Map<number, Uint8Array>()
  readonly #op = new Operation()
  readonly #member = new Operation()
  #hello: Hello | undefined

  constructor(node: FakeNode, stream: FrameStream) {
    this.#node = node
    this.#stream = stream
  }

  frame(body: Uint8Array): void {
    const r = new ByteReader(body)
    switch (r.uint8()) {
      case FrameType.hello:
        this.#onHello(decodeHello(r))
        return
      case FrameType.request:
        this.#onRequest(r)
        return
      case FrameType.upload: {
        const uploadId = r.uint32()
        const total = r.varint()
        const offset = r.varint()
        const bytes = this.#uploads.get(uploadId) ?? new Uint8Array(total)
        this.#uploads.set(uploadId, bytes)
        bytes.set(r.raw(r.remaining), offset)
        this.#node.uploadsHeld = this.#uploads.size
        return
      }
      case FrameType.uploadDrop:
        while (r.remaining > 0) this.#uploads.delete(r.uint32())
        this.#node.uploadsHeld = this.#uploads.size
        return
      case FrameType.cancel:
        while (r.remaining > 0) this.#node.cancelled.push(r.uint32())
        return
      default:
        throw new CacheError('PROTOCOL_ERROR', 'unknown frame')
    }
  }

  #onHello(hello: Hello): void {
    const { cluster } = this.#node
    this.#hello = hello
    this.#node.hellos.push(hello)
    if (this.#node.silent) return
    const { topology, options } = cluster
    if (hello.clusterId !== '' && hello.clusterId !== topology.clusterId) {
      this.#stream.send(encodeError('WRONG_CLUSTER', `this is cluster ${topology.clusterId}`))
      this.#stream.close()
      return
    }
    this.#stream.send(
      encodeWelcome({
        version: 1,
        clusterId: topology.clusterId,
        nodeId: this.#node.nodeId,
        incarnation: this.#node.incarnation ?? topology.nodes[this.#node.index]?.incarnation ?? '',
        keyBytesMax: 1024,
        valueBytesMax: options.valueBytesMax,
        creditBytes: options.creditBytes,
        operationsMax: options.operationsMax,
        topology: this.#node.notReady ? new Uint8Array(0) : encodeTopology(topology, 'client'),
      }),
    )
  }

  #onRequest(r: ByteReader): void {
    const node = this.#node
    const frameNumber = r.uint32()
    const firstId = r.uint32()
    const firstIncomplete = r.varint()
    const out = new ByteWriter(1024)
    beginFrame(out, FrameType.response)
    out.uint32(frameNumber)
    const op = this.#op
    const after: Uint8Array[] = []
    let count = 0
    for (; r.remaining > 0; count++) {
      const requestId = (firstId + count) >>> 0
      readOperation(r, op)
      if (op.opcode === Opcode.none) {
        if (node.recordOperations)
          node.received.push(this.#describe(r, requestId, frameNumber, firstIncomplete))
        continue
      }
      const received = this.#describe(r, requestId, frameNumber, firstIncomplete)
      if (node.recordOperations) node.received.push(received)
      const verdict = node.behave?.(received)
      const mark = out.length
      this.#answer(r, op, requestId, out, after)
      if (verdict === undefined) continue
      out.length = mark
      if (verdict !== 'hold') writeErrorResult(out, requestId, verdict, 'as the test asked')
    }
    if (node.recordOperations) node.frames.push(count)
    if (node.silent) return
    const message = finishFrame(out)
    const sent = node.tamper === undefined ? message : node.tamper(message)
    if (sent !== undefined) this.#stream.send(sent)
    for (const value of after) this.#stream.send(value)
  }

  #describe(r: ByteReader, requestId: number, frameNumber: number, firstIncomplete: number): Received {
    const op = this.#op
    const keyed = op.opcode < Opcode.scan
    const writes = op.opcode >= Opcode.set && op.opcode < Opcode.scan
    return {
      opcode: op.opcode,
      key: keyed ? Buffer.from(r.bytes.subarray(op.keyStart, op.keyEnd)).toString() : '',
      counter: writes || op.opcode === Opcode.clear ? op.counter : 0,
      session: op.session === '' ? (this.#hello?.session ?? '') : op.session,
      timeoutMs: op.timeoutMs,
      readKind: op.readKind,
      ttlMs: writes ? op.ttlMs : -1,
      durability: (op.flags & Flag.durability) >> 2,
      requestId,
      frameNumber,
      firstIncomplete,
    }
  }

  #answer(r: ByteReader, op: Operation, requestId: number, out: ByteWriter, after: Uint8Array[]): void {
    const { cluster } = this.#node
    const group = cluster.topology.groups[0]
    if (group === undefined) throw new Error('no group')
    if (op.opcode === Opcode.scan) {
      this.#scan(r, op, requestId, out)
      return
    }
    if (op.opcode === Opcode.clear) {
      this.#clear(r, op, requestId, out)
      return
    }
    if (op.opcode === Opcode.stats) {
      writeResult(out, requestId, Status.ok)
      out.text(JSON.stringify({ hits: 3, misses: 1, entries: 2, bytes: 10, sets: 5 }))
      return
    }
    const partition = locate(group, op.regionId, r.bytes, op.keyStart, op.keyEnd)
    const record = cluster.topology.partitions[partition]
    const { incarnation } = this.#node
    if (incarnation !== undefined && incarnation !== cluster.topology.nodes[this.#node.index]?.incarnation) {
      writeErrorResult(out, requestId, 'NO_ROLE', 'restarted')
      return
    }
    const read = op.opcode < Opcode.set
    const anyReplica = read && op.readKind > 1
    if (
      record === undefined ||
      !(anyReplica ? record.inSync.includes(this.#node.index) : record.primary === this.#node.index)
    ) {
      writeErrorResult(out, requestId, 'NOT_PRIMARY', `partition ${partition}`)
      return
    }
    if (op.opcode === Opcode.atomic) {
      this.#atomic(r, op, partition, requestId, out)
      return
    }
    out.uint32(requestId)
    this.#one(r, op, partition, requestId, out, after)
  }

  /** Status and payload of one keyed operation. */
  #one(
    r: ByteReader,
    op: Operation,
    partition: number,
    requestId: number,
    out: ByteWriter,
    after: Uint8Array[],
  ): void {
    const { cluster } = this.#node
    const store = cluster.store(partition)
    const key = keyOf(op.regionId, r.bytes.subarray(op.keyStart, op.keyEnd))
    const nowMs = cluster.options.wallMs()
    let entry = store.get(key)
    if (entry !== undefined && entry.expiresAtMs !== 0 && entry.expiresAtMs <= nowMs) {
      store.delete(key)
      entry = undefined
    }
    switch (op.opcode) {
      case Opcode.get:
      case Opcode.getEntry: {
        if (entry === undefined) {
          out.uint8(Status.absent)
          return
        }
        const large = entry.value.length > INLINE_VALUE_BYTES_MAX
        if (large && this.#hello?.lane !== 'bulk') {
          out.uint8(Status.large)
          out.varint(entry.value.length)
          return
        }
        out.uint8(large ? Status.chunked : Status.ok)
        if (op.opcode === Opcode.getEntry) writeHead(out, entry)
        out.uint8(entry.codec)
        if (!large) {
          out.blob(entry.value)
          return
        }
        out.varint(entry.value.length)
        for (let from = 0; from < entry.value.length; from += DOWNLOAD_CHUNK_BYTES) {
          const w = new ByteWriter(DOWNLOAD_CHUNK_BYTES + 64)
          beginFrame(w, FrameType.value)
          w.uint32(requestId)
          w.raw(entry.value.subarray(from, from + DOWNLOAD_CHUNK_BYTES))
          after.push(finishFrame(w))
        }
        return
      }
      case Opcode.has:
        out.uint8(entry === undefined ? Status.absent : Status.ok)
        return
      case Opcode.ttl:
        if (entry === undefined) {
          out.uint8(Status.absent)
          return
        }
        out.uint8(Status.ok)
        out.float64(entry.expiresAtMs === 0 ? -1 : entry.expiresAtMs - nowMs)
        return
      case Opcode.set:
      case Opcode.setUploaded: {
        if (!holds(op, entry)) {
          this.#failedCondition(entry, out)
          return
        }
        const value =
          op.opcode === Opcode.set
            ? Uint8Array.from(r.bytes.subarray(op.valueStart, op.valueEnd))
            : this.#uploads.get(op.uploadId)
        if (value === undefined) {
          out.uint8(Status.error + 1)
          out.text('no such upload')
          return
        }
        this.#uploads.delete(op.uploadId)
        this.#node.uploadsHeld = this.#uploads.size
        const stored: Stored = {
          codec: op.codec,
          value,
          sequence: ++cluster.sequence,
          createdAtMs: nowMs,
          expiresAtMs: op.ttlMs > 0 ? nowMs + op.ttlMs : 0,
          tags: readTags(r.bytes, op),
        }
        store.set(key, stored)
        writeVersion(out, stored)
        return
      }
      case Opcode.delete:
        if (entry === undefined) {
          out.uint8(Status.absent)
          return
        }
        if (!holds(op, entry)) {
          this.#failedCondition(entry, out)
          return
        }
        store.delete(key)
        out.uint8(Status.ok)
        return
      case Opcode.expire:
      case Opcode.touch:
        if (entry === undefined) {
          out.uint8(Status.absent)
          return
        }
        if (op.ttlMs >= 0) entry.expiresAtMs = op.ttlMs === 0 ? 0 : nowMs + op.ttlMs
        out.uint8(Status.ok)
        return
      case Opcode.increment: {
        if (entry !== undefined && entry.codec !== Codec.counter) {
          out.uint8(Status.error + 5)
          out.text('not a counter')
          return
        }
        const before = entry === undefined ? op.initial : Buffer.from(entry.value).readDoubleLE(0)
        const value = Buffer.alloc(8)
        value.writeDoubleLE(before + op.by)
        const expiresAtMs = entry?.expiresAtMs ?? (op.ttlMs > 0 ? nowMs + op.ttlMs : 0)
        store.set(key, {
          codec: Codec.counter,
          value,
          sequence: ++cluster.sequence,
          createdAtMs: nowMs,
          expiresAtMs,
          tags: [],
        })
        out.uint8(Status.ok)
        out.float64(before + op.by)
        return
      }
      default:
        throw new CacheError('PROTOCOL_ERROR', `opcode ${op.opcode}`)
    }
  }

  #failedCondition(entry: Stored | undefined, out: ByteWriter): void {
    out.uint8(Status.conditionFailed)
    const inline = entry !== undefined && entry.value.length <= INLINE_VALUE_BYTES_MAX
    out.uint8(entry === undefined ? 0 : inline ? 1 : 2)
    if (entry === undefined) return
    writeHead(out, entry)
    out.uint8(entry.codec)
    if (inline) out.blob(entry.value)
  }

  #atomic(r: ByteReader, op: Operation, partition: number, requestId: number, out: ByteWriter): void {
    const member = this.#member
    const store = this.#node.cluster.store(partition)
    const { count } = op
    let failed = -1
    const results = new ByteWriter(256)
    let writes = 0
    for (let i = 0; i < count; i++) {
      readAtomicMember(r, member)
      const entry = store.get(keyOf(member.regionId, r.bytes.subarray(member.keyStart, member.keyEnd)))
      if (isCheck(member)) {
        const given = r.bytes.subarray(member.valueStart, member.valueEnd)
        const held =
          member.opcode === Opcode.has
            ? holds(member, entry)
            : entry?.codec === member.codec && Buffer.compare(entry.value, given) === 0
        if (!held && failed < 0) failed = i
      } else if (failed < 0) {
        writes++
        this.#one(r, member, partition, requestId, results, [])
      }
    }
    writeResult(out, requestId, failed < 0 ? Status.ok : Status.conditionFailed)
    out.varint(failed < 0 ? writes : failed)
    if (failed < 0) out.raw(results.toBytes())
  }

  #scan(r: ByteReader, op: Operation, requestId: number, out: ByteWriter): void {
    const pattern = globOf(Buffer.from(r.bytes.subarray(op.patternStart, op.patternEnd)).toString())
    const store = this.#node.cluster.store(op.partition)
    const keys: string[] = []
    let bytes = 0
    let bucket = op.bucket
    for (; bucket < 64 && bytes < op.bytesMax; bucket++) {
      for (const stored of store.keys()) {
        if (bucketOf(stored) !== bucket || !stored.startsWith(`${op.regionId}/`)) continue
        const key = stored.slice(`${op.regionId}/`.length)
        bytes += key.length
        if (pattern.test(key)) keys.push(key)
      }
    }
    writeResult(out, requestId, Status.ok)
    out.varint(bucket)
    out.varint(keys.length)
    for (const key of keys) out.text(key)
  }

  #clear(r: ByteReader, op: Operation, requestId: number, out: ByteWriter): void {
    const prefix = `${op.regionId}/${Buffer.from(r.bytes.subarray(op.patternStart, op.patternEnd)).toString()}`
    const store = this.#node.cluster.store(op.partition)
    let removed = 0
    for (const key of [...store.keys()]) {
      if (!key.startsWith(prefix)) continue
      store.delete(key)
      removed++
    }
    writeResult(out, requestId, Status.ok)
    out.varint(removed)
  }
}

function holds(op: Operation, entry: Stored | undefined): boolean {
  switch ((op.flags & Flag.condition) >> 4) {
    case ConditionCode.absent:
      return entry === undefined
    case ConditionCode.present:
      return entry !== undefined
    case ConditionCode.version:
      return entry !== undefined && op.conditionEpoch === 1 && op.conditionSequence === entry.sequence
    default:
      return true
  }
}

function writeHead(out: ByteWriter, entry: Stored): void {
  writeEntryMeta(out, {
    partitionEpoch: 1,
    sequence: entry.sequence,
    createdAtMs: entry.createdAtMs,
    expiresAtMs: entry.expiresAtMs,
    staleAtMs: 0,
  })
  out.varint(entry.tags.length)
  for (const tag of entry.tags) out.text(tag)
}

function writeVersion(out: ByteWriter, entry: Stored): void {
  out.uint8(Status.ok)
  out.varint(1)
  out.varint(entry.sequence)
}

function readTags(bytes: Uint8Array, op: Operation): string[] {
  const tags: string[] = []
  const r = new ByteReader(bytes, op.tagsStart)
  for (let i = 0; i < op.tagCount; i++) tags.push(r.text())
  return tags
}

function keyOf(regionId: number, key: Uint8Array): string {
  return `${regionId}/${Buffer.from(key).toString()}`
}

function bucketOf(key: string): number {
  const bytes = Buffer.from(key)
  return xxh32(bytes, 0, bytes.length, 7) % 64
}

function globOf(pattern: string): RegExp {
  const source = pattern.replace(
    /\\(.)|([*?])|(\[[^\]]*\])|([^A-Za-z0-9])/gs,
    (whole, escaped, wild, set) => {
      if (escaped !== undefined) return `\\u{${(escaped as string).codePointAt(0)?.toString(16)}}`
      if (wild !== undefined) return wild === '*' ? '.*' : '.'
      if (set !== undefined) return set as string
      return `\\u{${(whole as string).codePointAt(0)?.toString(16)}}`
    },
  )
  return new RegExp(`^${source}$`, 'su')
}

function makeTopology(options: Required<FakeClusterOptions>): Topology {
  const nodes = Array.from(
    { length: options.nodes },
    (_, i): NodeRecord => ({
      nodeId: `node-${i + 1}` as NodeId,
      incarnation: `${i + 1}`.repeat(16).slice(0, 16) as Incarnation,
      address: `loopback:${7501 + i}`,
      diskId: '',
      zone: '',
      weight: 1,
      state: 'active',
    }),
  )
  const region = (regionId: number, name: string): Topology['regions'][number] => ({
    regionId: regionId as RegionId,
    name,
    group: 'default',
    sizeBytes: 0,
    maxEntries: 0,
    ttlMs: 0,
    policy: 'lru',
    durability: 'quorum',
    read: 'primary',
    minInSync: 1,
  })
  return {
    clusterId: options.clusterId as ClusterId,
    clusterName: 'fake',
    epoch: 1 as Epoch,
    hashKey: undefined,
    nodes,
    groups: [
      {
        name: 'default',
        replicationFactor: options.nodes,
        firstPartition: 0,
        partitionCount: options.partitions,
      },
    ],
    voters: [],
    ring: NO_RING,
    nextRegionId: 0,
    regions: [region(1, 'default'), region(2, 'sessions')],
    partitions: Array.from({ length: options.partitions }, (_, p) => ({
      partitionEpoch: 1 as PartitionEpoch,
      primary: p % options.nodes,
      inSync: Array.from({ length: options.nodes }, (_unused, i) => (p + i) % options.nodes),
      learners: [],
      unsettled: [],
      recoveredAt: 0,
    })),
  }
}
