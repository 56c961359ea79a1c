/** Which backups a place holds, and removing them. */

import type { Clock } from '../kernel/clock.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { BackupStore } from '../snapshot/backup-store.ts'
import { expendable } from '../snapshot/retention.ts'
import {
  type BackupBeginning,
  beginningName,
  checkBackupName,
  findDescribed,
  MANIFEST,
  manifestName,
} from './backup-manifest.ts'
import { callOptions, findManifest } from './backup-reader.ts'
import type { BackupListing, BackupRetention } from './cluster-backups.ts'

const BACKUPS_MAX = 1000
/** Manifests that are read at a time. */
const READS = 8
const INCOMPLETE_FOR_MS = 24 * 3_600_000

interface Found {
  readonly name: string
  hasManifest: boolean
  bytes: number
  oldestMs: number
  newestMs: number
}

/** Newest first. @throws CacheError OVERLOADED when there are too many, and as the store does */
export async function listBackups(store: BackupStore, signal?: AbortSignal): Promise<BackupListing[]> {
  const found = new Map<string, Found>()
  for await (const { name: object, bytes, modifiedMs } of store.list('', callOptions(signal))) {
    const slash = object.indexOf('/')
    // What lies beside the backups is none of ours.
    if (slash < 0 || !isOurs(object.slice(slash + 1))) continue
    const name = object.slice(0, slash)
    const one = found.get(name) ?? { name, hasManifest: false, bytes: 0, oldestMs: modifiedMs, newestMs: 0 }
    one.bytes += bytes
    one.oldestMs = Math.min(one.oldestMs, modifiedMs)
    one.newestMs = Math.max(one.newestMs, modifiedMs)
    if (object === manifestName(name)) one.hasManifest = true
    found.set(name, one)
    if (found.size > BACKUPS_MAX)
      throw new CacheError(
        'OVERLOADED',
        `there are more than ${BACKUPS_MAX} backups in ${store.where}: delete some, or use another prefix`,
      )
  }
  const listings: BackupListing[] = []
  const open = [...found.values()]
  await Promise.all(
    Array.from({ length: READS }, async () => {
      for (let one = open.pop(); one !== undefined; one = open.pop())
        listings.push(await describe(store, one, signal))
    }),
  )
  return listings.sort((a, b) => b.startedMs - a.startedMs)
}

/** The manifest first, so that what a crash leaves is no backup. @throws CacheError INVALID_ARGUMENT when there is none of this name */
export async function deleteBackup(store: BackupStore, name: string, signal?: AbortSignal): Promise<void> {
  checkBackupName(name)
  const objects: string[] = []
  for await (const { name: object } of store.list(`${name}/`, callOptions(signal)))
    if (isOurs(object.slice(name.length + 1))) objects.push(object)
  if (objects.length === 0)
    throw new CacheError(
      'INVALID_ARGUMENT',
      `there is no backup ${name} in ${store.where}: \`snapshot list\` shows those there are`,
    )
  const manifest = manifestName(name)
  if (objects.includes(manifest)) await store.delete([manifest], callOptions(signal))
  const rest = objects.filter((object) => object !== manifest && object !== beginningName(name))
  await store.delete(rest, callOptions(signal))
  // Last: as long as it is there, what is left is known to be a backup's.
  await store.delete([beginningName(name)], callOptions(signal))
}

/** @returns the names removed */
export async function pruneBackups(
  store: BackupStore,
  clusterId: string,
  retention: BackupRetention,
  clock: Clock,
  signal?: AbortSignal,
): Promise<string[]> {
  const nowMs = clock.wallMs()
  const { prefix = '' } = retention
  const own = (await listBackups(store, signal)).filter(
    (one) => one.clusterId === clusterId && one.name.startsWith(prefix),
  )
  const complete = own
    .filter(({ state }) => state === 'complete')
    .toReversed()
    .map(({ name, finishedMs }) => ({ id: name, base: null, finishedMs }))
  const { incompleteForMs = INCOMPLETE_FOR_MS } = retention
  const abandoned = own.filter(
    ({ state, finishedMs }) => state === 'incomplete' && nowMs - finishedMs > incompleteForMs,
  )
  const names = [...expendable(complete, retention, nowMs), ...abandoned.map(({ name }) => name)]
  for (const name of names) await deleteBackup(store, name, signal)
  return names
}

async function describe(
  store: BackupStore,
  found: Found,
  signal: AbortSignal | undefined,
): Promise<BackupListing> {
  const { name, hasManifest, bytes, oldestMs, newestMs } = found
  const base = {
    name,
    startedMs: oldestMs,
    finishedMs: newestMs,
    clusterId: '',
    clusterName: '',
    entries: 0,
    storedBytes: bytes,
    reason: '',
  }
  try {
    const manifest = hasManifest ? await findManifest(store, name, signal) : undefined
    if (manifest !== undefined) {
      const { startedMs, finishedMs, clusterId, clusterName, entries } = manifest
      return { ...base, state: 'complete', startedMs, finishedMs, clusterId, clusterName, entries }
    }
    const begun = await findDescribed<BackupBeginning>(store, beginningName(name), callOptions(signal))
    const { clusterId = '', clusterName = '', startedMs = oldestMs } = begun?.value ?? {}
    const reason = 'it has no manifest: a run is under way, or ended early'
    return { ...base, state: 'incomplete', startedMs, clusterId, clusterName, reason }
  } catch (error) {
    const { code, message } = toCacheError(error)
    if (code !== 'DATA_LOSS' && code !== 'VERSION_MISMATCH') throw error
    return { ...base, state: 'unusable', reason: message }
  }
}

/** Names of the objects of a backup, without its own name. */
function isOurs(rest: string): boolean {
  return rest === MANIFEST || rest === 'begun.json' || /^parts\/[^/]+\.(data|json)$/.test(rest)
}
