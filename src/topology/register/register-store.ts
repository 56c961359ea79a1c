/**
 * What a node keeps of the register between two lives: the name of its disk, the last topology it knows, and what it promised
 * and accepted as a voter.
 *
 * A record that was decided is safe on a majority of the voters, in what they accepted, so it is written without waiting. What a
 * voter says next (about the slot behind it) is written with it, if that is not confirmed yet: so no disk holds a later slot
 * without the record before it.
 */

import { ByteReader, ByteWriter } from '../../kernel/bytes.ts'
import type { DurableChange, DurableStore } from '../../kernel/durable-store.ts'
import { CacheError } from '../../kernel/errors.ts'
import { type Random, randomHex } from '../../kernel/random.ts'
import { readBallot, writeBallot } from '../../wire/control-frames.ts'
import { decodeTopology } from '../codec.ts'
import type { Topology } from '../topology.ts'
import type { AcceptorState } from './acceptor.ts'

const DISK_KEY = 'node/disk'
const RECORD_KEY = 'register/record'
const SLOT_KEY = 'register/slot'
const FORMAT = 1

export class RegisterStore {
  readonly diskId: string
  /** What was there when the store was opened. */
  readonly kept: { readonly topology: Topology | undefined; readonly acceptor: AcceptorState | undefined }
  readonly #store: DurableStore
  /** Written, or being written, but not confirmed. */
  #pendingRecord: Uint8Array | undefined

  private constructor(store: DurableStore, diskId: string, kept: RegisterStore['kept']) {
    this.#store = store
    this.diskId = diskId
    this.kept = kept
  }

  /** @throws CacheError CONFIGURATION when what is there can't be read, INTERNAL when the disk does not work. */
  static async open(store: DurableStore, random: Random): Promise<RegisterStore> {
    const [disk, record, slot] = await Promise.all([
      store.get(DISK_KEY),
      store.get(RECORD_KEY),
      store.get(SLOT_KEY),
    ])
    let diskId = disk === undefined ? undefined : new TextDecoder().decode(disk)
    const kept = {
      topology: record === undefined ? undefined : readable('topology', () => decodeTopology(record)),
      acceptor: slot === undefined ? undefined : readable('vote', () => decodeSlot(slot)),
    }
    if (diskId === undefined) {
      diskId = randomHex(random, 32)
      await store.write([{ key: DISK_KEY, value: new TextEncoder().encode(diskId) }], { sync: true })
    }
    return new RegisterStore(store, diskId, kept)
  }

  /** Resolves once it is on the disk. @throws CacheError when it may not be. */
  async saveSlot(state: AcceptorState): Promise<void> {
    const changes: DurableChange[] = [{ key: SLOT_KEY, value: encodeSlot(state) }]
    const record = this.#pendingRecord
    if (record !== undefined) changes.push({ key: RECORD_KEY, value: record })
    await this.#store.write(changes, { sync: true })
    if (this.#pendingRecord === record) this.#pendingRecord = undefined
  }

  /** @throws CacheError when it may not be there; the next write tries again. */
  async saveRecord(encoded: Uint8Array, options: { readonly sync: boolean }): Promise<void> {
    this.#pendingRecord = encoded
    await this.#store.write([{ key: RECORD_KEY, value: encoded }], options)
    if (this.#pendingRecord === encoded) this.#pendingRecord = undefined
  }
}

function readable<T>(what: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new CacheError(
      'CONFIGURATION',
      `the ${what} kept in the data directory can't be read (${reason}): move the directory away, and the node joins its cluster as a new one`,
      { cause },
    )
  }
}

function encodeSlot(state: AcceptorState): Uint8Array {
  const w = new ByteWriter(256 + (state.accepted?.value.length ?? 0))
  w.uint8(FORMAT)
  w.varint(state.slot)
  w.uint8((state.promised === undefined ? 0 : 1) + (state.accepted === undefined ? 0 : 2))
  if (state.promised !== undefined) writeBallot(w, state.promised)
  if (state.accepted !== undefined) {
    writeBallot(w, state.accepted.ballot)
    w.blob(state.accepted.value)
  }
  return w.toBytes()
}

function decodeSlot(bytes: Uint8Array): AcceptorState {
  const r = new ByteReader(bytes)
  if (r.uint8() !== FORMAT) throw new CacheError('PROTOCOL_ERROR', 'written by another release')
  const slot = r.varint()
  const parts = r.uint8()
  const promised = (parts & 1) === 0 ? undefined : readBallot(r)
  const accepted = (parts & 2) === 0 ? undefined : { ballot: readBallot(r), value: r.blob() }
  if (r.remaining !== 0) throw new CacheError('PROTOCOL_ERROR', 'bytes behind its end')
  return { slot, promised, accepted }
}
