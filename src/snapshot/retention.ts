/**
 * Which snapshots may go: those that no rule keeps, and that nothing that is kept builds on. The newest one always stays.
 */

import type { SnapshotManifest } from './manifest.ts'

export interface Retention {
  /** So many of the newest are kept. */
  readonly keep?: number
  /** Those younger than this are kept, in milliseconds. */
  readonly keepForMs?: number
}

/** @param manifests oldest first. @returns ids of those that may go, newest first, so that none ever lacks its base */
export function expendable(
  manifests: readonly Pick<SnapshotManifest, 'id' | 'base' | 'finishedMs'>[],
  { keep, keepForMs }: Retention,
  nowMs: number,
): string[] {
  if (keep === undefined && keepForMs === undefined) return []
  const kept = new Set<string>()
  const newestFirst = manifests.toReversed()
  for (const [age, { id, base, finishedMs }] of newestFirst.entries()) {
    const wanted =
      age === 0 ||
      (keep !== undefined && age < keep) ||
      (keepForMs !== undefined && nowMs - finishedMs < keepForMs)
    if (!wanted && !kept.has(id)) continue
    kept.add(id)
    // A base is older, so it comes later in this loop, and its own base with it.
    if (base !== null) kept.add(base)
  }
  return newestFirst.map(({ id }) => id).filter((id) => !kept.has(id))
}
