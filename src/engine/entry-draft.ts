import type { LargeValue } from './large-value.ts'

const NOTHING = new Uint8Array(0)

/**
 * What `Engine.put` stores. One object is filled again and again: nothing is allocated per write. `clear` sets what is
 * optional back to nothing. The bytes are copied; they must not lie in the engine's own memory.
 */
export class EntryDraft {
  partition = 0
  regionId = 0
  /** `Engine.hashKey` of region and key. */
  hash = 0
  key: Uint8Array = NOTHING
  keyStart = 0
  keyEnd = 0
  value: Uint8Array = NOTHING
  valueStart = 0
  valueEnd = 0
  /** Instead of `value`: a complete large value. The entry takes a reference of its own; the caller keeps its own. */
  large: LargeValue | undefined = undefined
  codec = 0
  versionEpoch = 0
  /** Below 2^48. */
  versionSequence = 0
  /** Times in milliseconds since the Unix epoch, whole, below 2^48. */
  createdAtMs = 0
  /** 0: never. */
  expiresAtMs = 0
  /** 0: never. */
  staleAtMs = 0
  /** Kept as given, up to 65,535 bytes. */
  tags: Uint8Array = NOTHING
  tagsStart = 0
  tagsEnd = 0
  /** Up to 255. */
  tagCount = 0

  clear(): this {
    this.key = this.value = this.tags = NOTHING
    this.keyStart = this.keyEnd = this.valueStart = this.valueEnd = this.tagsStart = this.tagsEnd = 0
    this.large = undefined
    this.codec = this.tagCount = this.expiresAtMs = this.staleAtMs = 0
    return this
  }
}
