/**
 * A node whose peers send frames no node would send. Such a peer can lie about the log it orders, but it must not break the
 * node: each bad frame ends its stream, and what came before it stays.
 */

import { describe, expect, it } from 'vitest'
import { ByteWriter } from '../../../src/kernel/bytes.ts'
import { integerBetween, SeededRandom, uniform } from '../../../src/kernel/random.ts'
import { EffectKind, writeEffectStart, writeKey, writeSetStart } from '../../../src/replication/effects.ts'
import { encodeTopology } from '../../../src/topology/codec.ts'
import { type ControlMessage, encodeControl } from '../../../src/wire/control-frames.ts'
import { beginFrame, FRAME_HEADROOM, FrameType, finishFrame } from '../../../src/wire/frames.ts'
import {
  encodeAck,
  encodePeerWelcome,
  encodeResume,
  encodeStageState,
} from '../../../src/wire/peer-frames.ts'
import { beginSyncFrame, writeListed } from '../../../src/wire/replica-frames.ts'
import type { Lane } from '../../../src/wire/transport.ts'
import { DirectStream } from '../../support/direct-stream.ts'
import { mutated, noise } from '../../support/hostile-bytes.ts'
import { LogWitness } from '../../support/log-witness.ts'
import { LoneNode } from '../../support/lone-node.ts'
import { stageBody } from '../../support/stage-body.ts'
import { helloBody, RequestMaker } from '../../support/valid-requests.ts'

const FRAMES = Number(process.env['HOSTILE_FRAMES'] ?? 650_000)
const SEED = Number(process.env['HOSTILE_SEED'] ?? 7)

/** How a stream may be ended; none: a newer one took its place. */
const REFUSALS = new Set(['PROTOCOL_ERROR', 'WRONG_CLUSTER', 'CONFIGURATION', 'VERSION_MISMATCH', 'none'])
const encoder = new TextEncoder()

describe('a node whose peers send hostile frames', () => {
  it(`holds out against ${FRAMES} of them`, { timeout: 240_000 }, async () => {
    const random = new SeededRandom(SEED)
    const witness = new LogWitness()
    const node = await LoneNode.serving({ memoryLimitBytes: 256 * 1024 * 1024 }, witness.log)
    const maker = new PeerFrames(node, random)
    let operations = node.fromA()
    let bulk = node.fromA('bulk')
    let control = node.fromA('control')
    const inward = (stream: DirectStream, lane: Lane): DirectStream => {
      if (!stream.closed) return stream
      refusals.add(stream.error?.code ?? 'none')
      stream.hangUp()
      return node.fromA(lane)
    }
    const refusals = new Set<string>()
    const client = new RequestMaker(random, { keys: 30, partitions: 6, regions: 1 })
    const reader = clientOf(node)
    const { stackTraceLimit } = Error
    for (let sent = 0; sent < FRAMES; ) {
      // An error per frame: their stacks would cost more than everything else.
      Error.stackTraceLimit = 0
      for (let i = 0; i < 2500; i++, sent++) {
        operations = inward(operations, 'operations')
        bulk = inward(bulk, 'bulk')
        control = inward(control, 'control')
        const dice = uniform(random)
        if (dice < 0.6) operations.handler?.frame(maker.replicate(uniform(random) < 0.85))
        else if (dice < 0.62) control.handler?.frame(maker.control(uniform(random) < 0.5))
        else if (dice < 0.64) operations.handler?.frame(noise(random, 100))
        else if (dice < 0.69) bulk.handler?.frame(maker.stage(uniform(random) < 0.7))
        else if (dice < 0.95) maker.answer(uniform(random) < 0.7)
        else if (dice < 0.96) {
          const stranger = new DirectStream()
          stranger.handler = node.core.accept('cluster', stranger, 'stranger')
          stranger.handler.frame(mutated(random, node.helloOfA('operations'), 1))
          if (stranger.closed) refusals.add(stranger.error?.code ?? 'none')
          stranger.hangUp()
        } else reader.handler?.frame(client.request())
        operations.take()
        bulk.take()
        control.take()
      }
      reader.take()
      Error.stackTraceLimit = stackTraceLimit
      await node.time.advance(20)
      expect(witness.bugs).toEqual([])
      expect(reader.error).toBeUndefined()
    }
    expect([...refusals].filter((code) => !REFUSALS.has(code))).toEqual([])
    expect(maker.resumes).toBeGreaterThan(0)
    expect(node.core.dataPlane?.replicator.backlog.end).toBeGreaterThan(FRAMES / 1000)
    operations.hangUp()
    bulk.hangUp()
    control.hangUp()
    reader.hangUp()
    for (const { stream } of node.dialed) stream.hangUp()
    await node.time.advance(5000)
    expect(witness.bugs).toEqual([])
    const { replicator, engine } = node.core.dataPlane ?? {}
    expect(replicator?.inbox.heldBytes).toBe(0)
    replicator?.close()
    expect(node.core.memory.held('backlog')).toBe(0)
    expect(engine?.stats.entries).toBeGreaterThan(0)
    node.core.close()
  })

  it('takes no log that is meant for another process of its node', async () => {
    const node = await LoneNode.serving()
    const greeted = (incarnation: string): DirectStream => {
      const stream = new DirectStream()
      stream.handler = node.core.accept('cluster', stream, 'a')
      stream.handler.frame(node.helloOfA('operations', incarnation))
      return stream
    }
    expect(greeted(node.core.incarnation).closed).toBe(false)
    const refused = greeted('bbbbbbbbbbbbbbbb')
    expect([refused.closed, refused.error?.code]).toEqual([true, 'UNAVAILABLE'])
    node.core.close()
  })

  it('takes no topology up that it could not serve', async () => {
    const random = new SeededRandom(SEED)
    const witness = new LogWitness()
    let adopted = 0
    for (let i = 0; i < 1000; i++) {
      const node = await LoneNode.open({}, witness.log)
      await node.learn(mutated(random, encodeTopology(node.topology, 'node'), 30))
      expect(witness.bugs).toEqual([])
      const { state } = node.core.status()
      if (state !== 'starting') {
        adopted++
        // It serves: a client gets answers, not failures.
        const client = clientOf(node)
        client.handler?.frame(new RequestMaker(random, { keys: 5, partitions: 6, regions: 1 }).request())
        expect(witness.bugs).toEqual([])
      } else {
        // It was not spoilt: the right one is taken up.
        await node.learn(node.encoded)
        expect(node.core.status().state).toBe('serving')
      }
      node.core.close()
    }
    expect(adopted).toBeGreaterThan(0)
  })

  it('takes no topology up that lacks the hash key or names another cluster', async () => {
    const node = await LoneNode.open()
    expect((await node.learn(encodeTopology(node.topology, 'client'))).error?.code).toBe('PROTOCOL_ERROR')
    const other = encodeTopology({ ...node.topology, clusterName: 'another' }, 'node')
    expect((await node.learn(other)).error?.code).toBe('WRONG_CLUSTER')
    expect(node.core.status().state).toBe('starting')
    await node.learn(node.encoded)
    expect(node.core.status().state).toBe('serving')
    node.core.close()
  })
})

function clientOf(node: LoneNode): DirectStream {
  const reader = new DirectStream()
  reader.handler = node.core.accept('cache', reader, 'reader')
  reader.handler.frame(helloBody('00000000000000aa'))
  return reader
}

/** What a peer sends, right or wrong. */
class PeerFrames {
  readonly #node: LoneNode
  readonly #random: SeededRandom
  readonly #w: ByteWriter = new ByteWriter(4096)
  #frameNumber = 0
  #stageId = 0
  resumes = 0

  constructor(node: LoneNode, random: SeededRandom) {
    this.#node = node
    this.#random = random
  }

  /** A log of one to four records, that follows on what the node holds; `wrong`: with changed bytes past its header. */
  replicate(wrong: boolean): Uint8Array {
    const random = this.#random
    const w = this.#w
    beginFrame(w, FrameType.replicate)
    w.uint32(++this.#frameNumber)
    w.float64(this.#node.time.wallMs())
    w.varint(uniform(random) < 0.3 ? 1 : 0)
    if (w.bytes[w.length - 1] === 1) {
      w.uint32(integerBetween(random, 0, 20))
      w.uint32(0)
      w.varint(integerBetween(random, 0, 50))
    }
    const partition = 3 * integerBetween(random, 0, 1)
    let sequence = this.#node.core.dataPlane?.replicator.replica(partition)?.lastSequence ?? 0
    for (let records = integerBetween(random, 1, 4); records > 0; records--) {
      const effect = new ByteWriter(64)
      this.#effect(effect, true)
      w.varint(partition)
      w.varint(1)
      w.uint48(++sequence)
      w.varint(1)
      w.varint(effect.length)
      w.raw(effect.bytes, 0, effect.length)
    }
    const body = w.bytes.slice(FRAME_HEADROOM, w.length)
    return wrong ? mutated(random, body, 14) : body
  }

  stage(wrong: boolean): Uint8Array {
    const random = this.#random
    const total = integerBetween(random, 65_537, 70_000)
    const first = uniform(random) < 0.6
    if (first) this.#stageId++
    const offset = first ? 0 : 60_000
    const chunk = new Uint8Array(first ? 60_000 : total - 60_000)
    const body = stageBody(this.#stageId, total, offset, chunk)
    if (uniform(random) < 0.1)
      return encodeStageState(FrameType.stageDrop, this.#stageId, false).slice(FRAME_HEADROOM)
    return wrong ? mutated(random, body.subarray(0, 2000), 1) : body
  }

  /** A question on the control lane, or a made-up part of one. */
  control(wrong: boolean): Uint8Array {
    const random = this.#random
    const slot = integerBetween(random, 1, 3)
    const ballot = { round: integerBetween(random, 0, 5), proposer: 'a/1' }
    const value = new Uint8Array(integerBetween(random, 0, 20))
    const messages: ControlMessage[] = [
      { kind: 'prepare', slot, ballot },
      // No majority would have accepted such a value: that it is decided is not for one peer to say.
      { kind: 'contact', round: slot, epoch: 1 },
      { kind: 'suggest', change: value },
      { kind: 'fetch', epoch: integerBetween(random, 0, 2) },
      { kind: 'record', topology: this.#node.encoded },
      { kind: 'found', topology: this.#node.encoded },
      { kind: 'decided', slot, value },
      { kind: 'vote', vote: { kind: 'accepted', slot, ballot, voter: 'a/' } },
    ]
    const message = messages[integerBetween(random, 0, messages.length - 1)] as ControlMessage
    const body = encodeControl(message).slice(FRAME_HEADROOM)
    return wrong ? mutated(random, body, 1) : body
  }

  /** An answer of a peer to what the node sent it. */
  answer(wrong: boolean): void {
    const random = this.#random
    const open = this.#node.dialed.filter(({ stream }) => !stream.closed)
    this.#node.dialed.splice(0, this.#node.dialed.length, ...open)
    const one = open[integerBetween(random, 0, open.length - 1)]
    if (one === undefined) return
    one.stream.take()
    let body: Uint8Array
    const dice = uniform(random)
    if (dice < 0.2) {
      body = encodePeerWelcome({
        version: 1,
        nodeId: one.address === '10.0.0.1:7401' ? 'a' : 'c',
        incarnation: 'aaaaaaaaaaaaaaaa',
        diskId: '',
        clusterId: this.#node.topology.clusterId,
        epoch: 1,
      })
    } else if (dice < 0.4) {
      this.resumes++
      body = encodeResume(
        [1, 4].map((partition) => ({
          partition,
          partitionEpoch: 1,
          lastSequence: integerBetween(random, 0, 20),
        })),
      )
    } else if (dice < 0.9) {
      const rejected = Array.from({ length: integerBetween(random, 0, 2) }, () => ({
        partition: integerBetween(random, 0, 5),
        reason: integerBetween(random, 1, 5),
        partitionEpoch: 1,
        lastSequence: integerBetween(random, 0, 30),
      }))
      body = encodeAck(integerBetween(random, 0, 2000), rejected)
    } else if (dice < 0.93) {
      const w = new ByteWriter(128)
      const name = { partition: integerBetween(random, 0, 5), partitionEpoch: 1, session: 1, attempt: 1 }
      beginSyncFrame(w, FrameType.syncHeld, name)
      for (let left = integerBetween(random, 0, 5); left > 0; left--)
        writeListed(w, random.uint32(), integerBetween(random, 1, 3), integerBetween(random, 0, 30))
      body = finishFrame(w)
    } else {
      body = encodeStageState(FrameType.staged, integerBetween(random, 0, 10), uniform(random) < 0.7)
    }
    const bare = body.slice(FRAME_HEADROOM)
    one.stream.handler?.frame(wrong ? mutated(random, bare, 1) : bare)
  }

  #effect(w: ByteWriter, mayBatch: boolean): void {
    const random = this.#random
    const key = encoder.encode(`k${integerBetween(random, 0, 30)}`)
    const id =
      mayBatch && uniform(random) < 0.5
        ? {
            sessionLow: integerBetween(random, 0, 20),
            sessionHigh: 0,
            counter: integerBetween(random, 1, 60),
          }
        : undefined
    const dice = integerBetween(random, 0, mayBatch ? 6 : 4)
    if (dice <= 2) {
      const fields = {
        codec: 0,
        createdAtMs: this.#node.time.wallMs(),
        expiresAtMs: dice === 0 ? this.#node.time.wallMs() + 500 : 0,
        tagCount: dice === 1 ? 1 : 0,
        tags: Uint8Array.from([2, 65, 66]),
        tagsStart: 0,
        tagsEnd: 3,
      }
      const staged = mayBatch && dice === 2 && uniform(random) < 0.1
      writeSetStart(w, id, Number.NaN, 0, key, 0, key.length, fields, staged)
      if (staged) w.uint32(this.#stageId)
      else w.blob(new Uint8Array(integerBetween(random, 0, 30)))
    } else if (dice <= 4) {
      const kinds = [EffectKind.deleted, EffectKind.evicted, EffectKind.expired, EffectKind.expiry]
      const kind = kinds[integerBetween(random, 0, 3)] as number
      writeEffectStart(w, kind, id, Number.NaN)
      writeKey(w, 0, key, 0, key.length)
      if (kind === EffectKind.expiry) w.float64(this.#node.time.wallMs() + 1000)
    } else if (dice === 5) {
      writeEffectStart(w, EffectKind.clear, id, 3)
      writeKey(w, 0, key, 0, 2)
    } else {
      writeEffectStart(w, EffectKind.batch, id, Number.NaN)
      w.blob(Uint8Array.from([1, 0]))
      w.varint(3)
      for (let i = 0; i < 3; i++) this.#effect(w, false)
    }
  }
}
