/**
 * The learner's end of a sync session (docs/protocol.md, "Learners").
 *
 * What it holds from before is unverified. Buckets whose digest equals the primary's as the session begins are good at once;
 * of the others it lists what it holds, by hash and version, and each range that arrives takes the place of what is there: of what is
 * listed only what the range names again, by the same version, stays ◆. The log flows from
 * the beginning on the same stream. Its effects are absolute and every one from the beginning on is applied, so it does not
 * matter that some meet entries that are still to be replaced, or that a range is ahead of what was applied.
 *
 * Bounded: `sessionsMax` sessions at a time; a range is one frame; HELD_VERSIONS_MAX entries are listed, in the turn the session begins.
 */

import type { Engine, EntryIndex } from '../engine/engine.ts'
import { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import type { NodeIndex } from '../topology/topology.ts'
import { FrameType, finishFrame, REQUEST_FRAME_BYTES_TARGET } from '../wire/frames.ts'
import {
  beginSyncFrame,
  decodeSyncBegin,
  encodeSyncState,
  HeldCode,
  type ListedEntry,
  readListed,
  readSyncName,
  type SyncName,
  SyncStatus,
  writeListed,
} from '../wire/replica-frames.ts'
import type { Applier } from './applier.ts'
import { HELD_VERSIONS_MAX } from './held-versions.ts'
import { SESSION_GRACE_MS } from './log-follower.ts'
import type { OperationTable } from './operation-table.ts'
import type { Replica } from './replica.ts'
import type { StageInbox } from './stage-inbox.ts'

export interface SyncTargetPorts {
  readonly engine: Engine
  readonly applier: Applier
  readonly operations: OperationTable
  readonly stages: StageInbox
  readonly sessionsMax: number
  monotonicMs(): number
  replica(partition: number): Replica | undefined
  replicas(): Iterable<Replica>
  /** Answers a primary on its stream to this node. */
  send(node: NodeIndex, message: Uint8Array): void
  /** Writes that this node had applied and the cluster goes on without. */
  rolledBack(replica: Replica, writes: number): void
  /** Broken by a test. */
  readonly forgets: boolean
  readonly replacesUnverified: boolean
  readonly checksSession: boolean
  readonly keepsByVersion: boolean
}

const HASH_END = 2 ** 32

export class SyncTarget {
  readonly #ports: SyncTargetPorts
  readonly #reader: ByteReader = new ByteReader(new Uint8Array(0))
  readonly #w: ByteWriter = new ByteWriter(4096)
  readonly #listed: ListedEntry = { hash: 0, versionEpoch: 0, sequence: 0 }

  constructor(ports: SyncTargetPorts) {
    this.#ports = ports
  }

  /** @throws CacheError PROTOCOL_ERROR when it is malformed. */
  begin(from: NodeIndex, body: Uint8Array): void {
    const r = this.#reader.reset(body, 1)
    const name = readSyncName(r)
    const begin = decodeSyncBegin(r)
    const replica = this.#replicaOf(from, name)
    const state = replica?.state
    if (replica === undefined || state?.kind !== 'learner') {
      this.#answer(from, name, SyncStatus.broken)
      return
    }
    const { learner } = state
    if (this.#ports.checksSession && learner.session !== name.session) {
      this.#answer(from, name, SyncStatus.broken)
      return
    }
    if (learner.phase.kind !== 'syncing' && this.#syncing() >= this.#ports.sessionsMax) {
      this.#answer(from, name, SyncStatus.busy)
      return
    }
    if (replica.lastEpoch < begin.termEpoch && replica.lastSequence > begin.termSequence)
      this.#ports.rolledBack(replica, replica.lastSequence - begin.termSequence)
    if (this.#ports.forgets) {
      replica.restart(begin.lastEpoch, begin.lastSequence)
      this.#ports.operations.forget(replica.partition)
    }
    replica.clockMs = Math.max(replica.clockMs, begin.clockMs)
    const { low, high } = differing(begin.digests, this.#ports.engine.digest(replica.partition))
    learner.begin(name.attempt, name.partitionEpoch, begin.lastSequence, low, high)
    this.#list(from, name, low, high)
    this.#answer(from, name, SyncStatus.begun, low, high)
  }

  /** @throws CacheError PROTOCOL_ERROR when it is malformed. */
  ids(from: NodeIndex, body: Uint8Array): void {
    const r = this.#reader.reset(body, 1)
    const name = readSyncName(r)
    const replica = this.#replicaOf(from, name)
    if (replica === undefined || !this.#follows(replica, name)) return
    while (r.remaining > 0) {
      const session = this.#ports.operations.session(r.uint32(), r.uint32())
      session.lastWriteMs = this.#ports.monotonicMs() + SESSION_GRACE_MS
      session.advance(r.varint())
      for (let count = r.varint(); count > 0; count--) {
        const counter = r.varint()
        const epoch = r.varint()
        const sequence = r.uint48()
        const number = r.float64()
        const payload = r.blob()
        if (counter < session.watermark) continue
        session.reserve(counter)
        session.record(
          counter,
          replica.partition,
          epoch,
          sequence,
          number,
          payload.length > 0 ? payload.slice() : undefined,
        )
      }
    }
  }

  /** @throws CacheError PROTOCOL_ERROR when it is malformed. */
  range(from: NodeIndex, body: Uint8Array): void {
    const r = this.#reader.reset(body, 1)
    const name = readSyncName(r)
    const replica = this.#replicaOf(from, name)
    if (replica === undefined || !this.#follows(replica, name)) {
      this.#answer(from, name, SyncStatus.broken)
      return
    }
    const number = r.varint()
    const fromHash = r.uint32()
    const toHash = r.uint32()
    const ok = this.#replace(replica, from, body, r, fromHash, toHash)
    if (ok && replica.state.kind === 'learner') replica.state.learner.covered(toHash)
    this.#answer(from, name, ok ? SyncStatus.applied : SyncStatus.broken, number)
  }

  /** @throws CacheError PROTOCOL_ERROR when it is malformed. */
  end(from: NodeIndex, body: Uint8Array): void {
    const r = this.#reader.reset(body, 1)
    const name = readSyncName(r)
    const replica = this.#replicaOf(from, name)
    if (replica === undefined || replica.state.kind !== 'learner' || !this.#follows(replica, name)) return
    const { learner } = replica.state
    if (learner.isWhole) {
      this.#answer(from, name, SyncStatus.whole)
      return
    }
    learner.end(name.attempt, r.uint48())
    this.learned(replica)
  }

  /** The learner applied more of the log: perhaps all that was missing. */
  learned(replica: Replica): void {
    const { state, partition, partitionEpoch } = replica
    if (state.kind !== 'learner' || !state.learner.reached(replica.lastSequence)) return
    const { session, phase } = state.learner
    const attempt = phase.kind === 'waiting' ? 0 : phase.attempt
    this.#answer(replica.primary, { partition, partitionEpoch, session, attempt }, SyncStatus.whole)
  }

  #replicaOf(from: NodeIndex, name: SyncName): Replica | undefined {
    const replica = this.#ports.replica(name.partition)
    if (replica?.role !== 'learner') return undefined
    return replica.primary === from && replica.partitionEpoch === name.partitionEpoch ? replica : undefined
  }

  #follows(replica: Replica, name: SyncName): boolean {
    const { state } = replica
    if (state.kind !== 'learner') return false
    return state.learner.follows(name.session, name.attempt) || !this.#ports.checksSession
  }

  #syncing(): number {
    let count = 0
    for (const { state } of this.#ports.replicas())
      if (state.kind === 'learner' && state.learner.phase.kind === 'syncing') count++
    return count
  }

  /** What lies in the range becomes what the frame holds. @returns false when it could not be */
  #replace(
    replica: Replica,
    from: NodeIndex,
    body: Uint8Array,
    r: ByteReader,
    fromHash: number,
    toHash: number,
  ): boolean {
    const { engine, applier, stages } = this.#ports
    const entries = this.#entriesIn(replica.partition, fromHash, toHash)
    const old = new Set(entries)
    const taken: number[] = []
    let byHash: ReadonlyMap<number, EntryIndex> | undefined
    try {
      while (r.remaining > 0) {
        const code = r.uint8()
        if (code === HeldCode.listed) {
          readListed(r, this.#listed)
          byHash ??= this.#byHash(entries)
          const entry = byHash.get(this.#listed.hash)
          // It has been there since it was listed: nothing but the log could have changed it, and that would have changed the primary's.
          if (entry === undefined || !old.has(entry) || !this.#isListed(entry)) return false
          old.delete(entry)
          continue
        }
        if (code === HeldCode.kept) {
          const regionId = r.varint()
          const bytes = r.varint()
          const start = r.skip(bytes)
          const hash = engine.hashKey(regionId, body, start, start + bytes)
          old.delete(engine.find(replica.partition, regionId, hash, body, start, start + bytes))
          continue
        }
        const versionEpoch = r.varint()
        const sequence = r.uint48()
        const bytes = r.varint()
        const start = r.skip(bytes)
        const entry = applier.store(
          replica,
          body,
          start,
          start + bytes,
          versionEpoch,
          sequence,
          (stageId) => {
            const value = stages.peek(from, stageId)
            if (value !== undefined) taken.push(stageId)
            return value
          },
          !this.#ports.replacesUnverified,
        )
        old.delete(entry)
      }
    } catch (error) {
      // Without memory, or without a value that was lost with its stream: the session has to begin anew.
      if (!(error instanceof CacheError) || error.code === 'PROTOCOL_ERROR') throw error
      return false
    }
    for (const entry of old) engine.remove(entry)
    for (const stageId of taken) stages.take(from, stageId)
    return true
  }

  /** Tells the primary what this node holds of the buckets that differ. */
  #list(from: NodeIndex, name: SyncName, low: number, high: number): void {
    const { engine } = this.#ports
    const w = this.#w
    const page: EntryIndex[] = []
    let left = HELD_VERSIONS_MAX
    beginSyncFrame(w, FrameType.syncHeld, name)
    const empty = w.length
    for (let bucket = 0; bucket < 64; bucket++) {
      if ((((bucket < 32 ? low : high) >>> (bucket & 31)) & 1) === 0) continue
      const end = (bucket + 1) * 2 ** 26
      for (let hash = bucket * 2 ** 26; hash < end && left > 0; ) {
        page.length = 0
        hash = engine.collectFrom(name.partition, hash, page)
        page.sort((a, b) => engine.hash(a) - engine.hash(b))
        for (let i = 0; i < page.length && left > 0; i++) {
          const e = page[i] as EntryIndex
          const at = engine.hash(e)
          if (at >= end) break
          if (!isAlone(engine, page, i)) continue
          writeListed(w, at, engine.versionEpoch(e), engine.versionSequence(e))
          left--
          if (w.length < REQUEST_FRAME_BYTES_TARGET) continue
          this.#ports.send(from, finishFrame(w))
          beginSyncFrame(w, FrameType.syncHeld, name)
        }
      }
    }
    if (w.length > empty) this.#ports.send(from, finishFrame(w))
  }

  /** Entries that are alone with their hash. */
  #byHash(entries: readonly EntryIndex[]): Map<number, EntryIndex> {
    const { engine } = this.#ports
    const byHash = new Map<number, EntryIndex>()
    const several = new Set<number>()
    for (const e of entries) {
      const hash = engine.hash(e)
      if (byHash.has(hash)) several.add(hash)
      byHash.set(hash, e)
    }
    for (const hash of several) byHash.delete(hash)
    return byHash
  }

  #isListed(e: EntryIndex): boolean {
    const { engine, keepsByVersion } = this.#ports
    const { versionEpoch, sequence } = this.#listed
    return (
      !keepsByVersion || (engine.versionEpoch(e) === versionEpoch && engine.versionSequence(e) === sequence)
    )
  }

  #entriesIn(partition: number, fromHash: number, toHash: number): EntryIndex[] {
    const { engine } = this.#ports
    const entries: EntryIndex[] = []
    for (let hash = fromHash; hash <= toHash && hash < HASH_END; )
      hash = engine.collectFrom(partition, hash, entries)
    return entries.filter((entry) => engine.hash(entry) >>> 0 <= toHash)
  }

  #answer(node: NodeIndex, name: SyncName, status: number, low = 0, high = 0): void {
    this.#ports.send(node, encodeSyncState({ ...name, status, low, high }))
  }
}

/** Whether no other entry of a page, which is sorted by hash, has the hash of the one at `i`. */
export function isAlone(engine: Engine, page: readonly EntryIndex[], i: number): boolean {
  const hash = engine.hash(page[i] as EntryIndex)
  const before = page[i - 1]
  const after = page[i + 1]
  return (
    (before === undefined || engine.hash(before) !== hash) &&
    (after === undefined || engine.hash(after) !== hash)
  )
}

/** Which of the 64 buckets differ, as two words of bits. */
export function differing(a: Uint32Array, b: Uint32Array): { low: number; high: number } {
  let low = 0
  let high = 0
  for (let bucket = 0; bucket < 64; bucket++) {
    if (a[2 * bucket] === b[2 * bucket] && a[2 * bucket + 1] === b[2 * bucket + 1]) continue
    if (bucket < 32) low |= 1 << bucket
    else high |= 1 << (bucket - 32)
  }
  return { low: low >>> 0, high: high >>> 0 }
}
