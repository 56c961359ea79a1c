/** Settings of a region as operators give them: those left out keep their value. */

import { CacheError } from '../../kernel/errors.ts'
import type { Durability, EvictionPolicyName, ReadKind, RegionRecord } from '../../topology/topology.ts'
import type { RegionSettingsMessage } from '../../wire/admin.ts'
import { TTL_MS_MAX } from '../../wire/operations.ts'

type Settings = Omit<RegionRecord, 'regionId'>

const POLICIES: readonly EvictionPolicyName[] = ['lru', 'fifo']
const DURABILITIES: readonly Durability[] = ['one', 'quorum', 'all']
const READS: readonly ReadKind[] = ['primary', 'replica', 'nearest', 'majority', 'linearizable']

/** @throws CacheError INVALID_ARGUMENT when a setting or the name is out of range */
export function withSettings(region: Settings, given: RegionSettingsMessage | null): Settings {
  const { name, group } = region
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name))
    throw invalid(`the name of a region has 1 to 64 letters, digits, ., _ or -; "${name}" has others`)
  const settings = given ?? {}
  return {
    name,
    group,
    sizeBytes: count('sizeBytes', settings.sizeBytes, region.sizeBytes, Number.MAX_SAFE_INTEGER),
    maxEntries: count('maxEntries', settings.maxEntries, region.maxEntries, Number.MAX_SAFE_INTEGER),
    ttlMs: count('ttlMs', settings.ttlMs, region.ttlMs, TTL_MS_MAX),
    policy: choice('policy', settings.policy, region.policy, POLICIES),
    durability: choice('durability', settings.durability, region.durability, DURABILITIES),
    read: choice('read', settings.read, region.read, READS),
    minInSync: count('minInSync', settings.minInSync, region.minInSync, 7),
  }
}

function count(name: string, given: number | undefined, known: number, max: number): number {
  if (given === undefined) return known
  if (!Number.isSafeInteger(given) || given < 0 || given > max)
    throw invalid(`${name} is ${given}; use an integer from 0 to ${max}`)
  return given
}

function choice<T extends string>(
  name: string,
  given: string | undefined,
  known: T,
  choices: readonly T[],
): T {
  if (given === undefined) return known
  const chosen = choices.find((one) => one === given)
  if (chosen === undefined) throw invalid(`${name} is "${given}"; use ${choices.join(', ')}`)
  return chosen
}

function invalid(message: string): CacheError {
  return new CacheError('INVALID_ARGUMENT', message)
}
