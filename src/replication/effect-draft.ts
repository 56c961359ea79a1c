import type { EntryDraft } from '../engine/engine.ts'
import type { Effect } from './effects.ts'

/**
 * Sets in the draft what a set read from `bytes` says. Partition, hash, version and a staged value are the caller's to set, the
 * value after this.
 */
export function fillDraft(draft: EntryDraft, effect: Effect, bytes: Uint8Array): void {
  draft.regionId = effect.regionId
  draft.key = bytes
  draft.keyStart = effect.keyStart
  draft.keyEnd = effect.keyEnd
  draft.codec = effect.codec
  draft.createdAtMs = effect.createdAtMs
  draft.expiresAtMs = effect.expiresAtMs
  draft.staleAtMs = 0
  draft.tags = bytes
  draft.tagCount = effect.tagCount
  draft.tagsStart = effect.tagCount > 0 ? effect.tagsStart : 0
  draft.tagsEnd = effect.tagCount > 0 ? effect.tagsEnd : 0
  draft.large = undefined
  draft.value = bytes
  draft.valueStart = effect.staged ? 0 : effect.valueStart
  draft.valueEnd = effect.staged ? 0 : effect.valueEnd
}
