/** The caches that run in the measuring process, behind one interface: entry `i` has a 12-byte key and a value of noise. */

import { LRUCache } from 'lru-cache'
import { Engine, EntryDraft, NO_ENTRY } from '../../src/engine/engine.ts'
import { ByteWriter } from '../../src/kernel/bytes.ts'
import { partitionOf } from '../../src/kernel/key.ts'
import { MemoryAccount } from '../../src/kernel/memory-account.ts'

export const SUBJECT_NAMES = ['ringcache', 'lru-cache'] as const
export type SubjectName = (typeof SUBJECT_NAMES)[number]

export interface Subject {
  set(i: number, valueBytes: number): void
  /** Reads the value, and counts as a use. */
  get(i: number): boolean
  delete(i: number): void
}

const PARTITIONS = 1024
const REGION = 1
const KEY_BYTES = 12
const CREATED_AT_MS = 1_800_000_000_000
/** What values are cut from. */
export const noise: Buffer = Buffer.alloc(65_536, 'a value of no great interest, ')

export function createSubject(name: SubjectName): Subject {
  return name === 'ringcache' ? new EngineSubject() : new LruCacheSubject()
}

/** The engine as a node uses it: 1024 partitions, partition and hash from the key's bytes, the value copied out. */
export class EngineSubject implements Subject {
  readonly engine: Engine = new Engine({
    hashKey: { low: 0x1234, high: 0x5678 },
    memory: new MemoryAccount(2 ** 34),
  })
  /** When the entries set from now on expire; 0: never. */
  expiresAtMs = 0
  readonly #draft = new EntryDraft()
  readonly #key = Buffer.alloc(KEY_BYTES, 'key:')
  readonly #reply = new ByteWriter(65_536)
  #sequence = 0

  constructor() {
    this.engine.addRegion(REGION, { policy: 'lru' })
    for (let partition = 0; partition < PARTITIONS; partition++) {
      this.engine.addPartition(partition)
      this.engine.setPrimary(partition, true)
    }
    const draft = this.#draft
    draft.regionId = REGION
    draft.key = this.#key
    draft.keyEnd = KEY_BYTES
    draft.value = noise
    draft.versionEpoch = 1
    draft.createdAtMs = CREATED_AT_MS
  }

  set(i: number, valueBytes: number): void {
    const draft = this.#draft
    this.#locate(i)
    draft.valueStart = i & 1023
    draft.valueEnd = draft.valueStart + valueBytes
    draft.versionSequence = ++this.#sequence
    draft.expiresAtMs = this.expiresAtMs
    this.engine.put(draft)
  }

  get(i: number): boolean {
    const e = this.#find(i)
    if (e === NO_ENTRY || this.engine.isExpired(e, CREATED_AT_MS)) return false
    this.engine.touch(e)
    this.#reply.clear()
    this.engine.copyValue(e, this.#reply)
    return true
  }

  delete(i: number): void {
    const e = this.#find(i)
    if (e !== NO_ENTRY) this.engine.remove(e)
  }

  /** Evicts up to `count` entries beyond `entriesMax`. @returns whether more are to go. */
  evict(entriesMax: number, count: number): boolean {
    const { engine } = this
    engine.setBudget(REGION, 0, entriesMax)
    for (let n = 0; n < count && engine.overBudget(REGION); n++) engine.remove(engine.victim(REGION))
    return engine.overBudget(REGION)
  }

  /** Removes up to `count` of what is due. @returns whether more may be. */
  expire(nowMs: number, count: number): boolean {
    this.engine.expireDue(nowMs, count, (e) => this.engine.remove(e))
    return this.engine.isExpiryBehind(nowMs)
  }

  #find(i: number): number {
    this.#locate(i)
    const { partition, hash } = this.#draft
    return this.engine.find(partition, REGION, hash, this.#key, 0, KEY_BYTES)
  }

  #locate(i: number): void {
    const key = this.#key
    for (let at = KEY_BYTES - 1, rest = i; at >= 4; at--, rest = (rest / 10) | 0) key[at] = 0x30 + (rest % 10)
    this.#draft.partition = partitionOf(key, 0, KEY_BYTES, REGION, PARTITIONS)
    this.#draft.hash = this.engine.hashKey(REGION, key, 0, KEY_BYTES)
  }
}

class LruCacheSubject implements Subject {
  readonly #cache = new LRUCache<string, Buffer>({ max: 2_000_000 })

  set(i: number, valueBytes: number): void {
    const start = i & 1023
    // A copy of its own, as a value that came over the network would be.
    this.#cache.set(keyText(i), Buffer.from(noise.subarray(start, start + valueBytes)))
  }

  get(i: number): boolean {
    return this.#cache.get(keyText(i)) !== undefined
  }

  delete(i: number): void {
    this.#cache.delete(keyText(i))
  }
}

export function keyText(i: number): string {
  return `key:${String(i).padStart(8, '0')}`
}
