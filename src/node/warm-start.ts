/**
 * Loads what this node's snapshots hold of the partitions it is to hold, before it asks for a role (docs/operation.md, "Warm restart").
 *
 * - What is loaded is memory nobody vouches for: as a learner it keeps what equals the primary's and takes the rest. It is never served
 *   from before that, unless the partition starts over with it (docs/protocol.md, "Losing too much of a partition").
 * - Each partition comes from the newest snapshot that has it and is whole; damage costs a partition its newest state, or all of it.
 * - It ends after `LOAD_MS`, even if the disk hangs, and where memory runs short: what is loaded by then counts.
 */

import type { Engine } from '../engine/engine.ts'
import type { Clock } from '../kernel/clock.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import type { MemoryAccount } from '../kernel/memory-account.ts'
import type { Scheduler } from '../kernel/scheduler.ts'
import type { Observer } from '../observability/observer.ts'
import type { Roles } from '../replication/roles.ts'
import type { SnapshotManifest } from '../snapshot/manifest.ts'
import type { SnapshotLibrary } from '../snapshot/snapshot-library.ts'
import { wantedPlacement } from '../topology/placement.ts'
import type { Topology } from '../topology/topology.ts'

/** The others replace a node that is away for longer than 30 s. */
const LOAD_MS = 20_000
const WARNINGS_MAX = 10
/** Partitions at one time: while the disk is waited for in some, another is put into memory. */
const LOADS_AT_ONCE = 6
/** Of a slice, one for each partition under way in a turn: nobody is served yet, but the other nodes want to hear of this one. */
const SLICE_MS = 5

export interface WarmStartPorts {
  readonly library: SnapshotLibrary
  readonly engine: Engine
  readonly roles: Pick<Roles, 'beginLoading' | 'endLoading'>
  readonly memory: MemoryAccount
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly log: Log
  readonly observer: Observer
}

/** Settles when no more is to be loaded; it never fails. @returns whether all that was found could be read */
export async function warmStart(
  topology: Topology,
  nodeId: string,
  ports: WarmStartPorts,
  signal: AbortSignal,
): Promise<boolean> {
  const { library, clock, scheduler, log } = ports
  const snapshots = library.list().filter(({ clusterId }) => clusterId === topology.clusterId)
  if (snapshots.length === 0) {
    const others = library.list().length
    const unusable = library.unusable().length
    if (others + unusable > 0)
      log.warn('no snapshot of this cluster can be used: the node comes back empty', {
        clusterId: topology.clusterId,
        ofOtherClusters: others,
        unusable,
      })
    return true
  }
  const abort = new AbortController()
  const stop = (): void => abort.abort()
  const timer = scheduler.after(LOAD_MS, stop)
  signal.addEventListener('abort', stop)
  const begunMs = clock.monotonicMs()
  const loader = new Loader(snapshots.toReversed(), ports, abort.signal)
  const left = partitionsOf(topology, nodeId)[Symbol.iterator]()
  const loadOn = async (): Promise<void> => {
    for (const partition of left) if (!(await loader.load(partition))) break
  }
  await Promise.all(Array.from({ length: LOADS_AT_ONCE }, loadOn))
  timer.cancel()
  signal.removeEventListener('abort', stop)
  loader.reportDamage()
  const { partitions, entries, expired, ofUnknownRegions, failed } = loader
  log.info('loaded from snapshots', {
    newest: snapshots.at(-1)?.id,
    partitions,
    entries,
    expired,
    ofUnknownRegions,
    failed,
    ms: Math.round(clock.monotonicMs() - begunMs),
  })
  return !loader.foundDamage
}

class Loader {
  /** Newest first. */
  readonly #snapshots: readonly { readonly id: string; readonly partitions: ReadonlySet<number> }[]
  readonly #ports: WarmStartPorts
  readonly #signal: AbortSignal
  partitions = 0
  entries = 0
  expired = 0
  ofUnknownRegions = 0
  /** By snapshot: the first partition that it could not give, and how many it could not. */
  readonly #damage = new Map<
    string,
    { readonly partition: number; readonly error: CacheError; count: number }
  >()
  /** Partitions that are in a snapshot and could not be read from any. */
  failed = 0

  constructor(snapshots: readonly SnapshotManifest[], ports: WarmStartPorts, signal: AbortSignal) {
    this.#snapshots = snapshots.map(({ id, partitions }) => ({ id, partitions: new Set(partitions) }))
    this.#ports = ports
    this.#signal = signal
  }

  get foundDamage(): boolean {
    return this.#damage.size > 0
  }

  /** One event a snapshot, however many partitions it is about. */
  reportDamage(): void {
    const { observer } = this.#ports
    for (const [snapshot, { partition, error, count }] of this.#damage) {
      observer.count('ringcache_snapshot_partitions_unusable_total', {}, count)
      observer.raise('snapshot.unusable', {
        message: `${count} partitions can not be loaded from snapshot ${snapshot}, partition ${partition} first: ${error.message}`,
        subject: snapshot,
        details: { snapshot, partitions: count, partition, code: error.code },
      })
    }
  }

  /** @returns false when no more is to be loaded */
  async load(partition: number): Promise<boolean> {
    const { memory, log } = this.#ports
    const found = this.#snapshots.filter(({ partitions }) => partitions.has(partition))
    for (const { id } of found) {
      if (this.#signal.aborted || memory.level !== 'normal') {
        const why = this.#signal.aborted ? 'it takes too long' : 'the memory is full'
        log.warn('loading from snapshots ended early', { partition, why })
        return false
      }
      const error = await this.#loadFrom(id, partition)
      if (error === undefined) return true
      if (error.code === 'ABORTED' || error.code === 'OVERLOADED') continue
      const damage = this.#damage.get(id) ?? { partition, error, count: 0 }
      damage.count++
      this.#damage.set(id, damage)
      if (this.failed < WARNINGS_MAX)
        log.warn('a partition can not be loaded from a snapshot', {
          partition,
          snapshot: id,
          why: error.message,
        })
    }
    if (found.length > 0) this.failed++
    return true
  }

  async #loadFrom(id: string, partition: number): Promise<CacheError | undefined> {
    const { library, engine, roles, clock } = this.#ports
    if (!roles.beginLoading(partition)) return undefined
    try {
      const read = await unlessAborted(
        library.loadInto(id, partition, engine, {
          nowMs: clock.wallMs(),
          sliceMs: SLICE_MS,
          signal: this.#signal,
        }),
        this.#signal,
      )
      if (read === undefined) {
        roles.endLoading(partition, undefined)
        return undefined
      }
      const { lastEpoch, lastSequence, clockMs } = read.summary
      roles.endLoading(partition, { epoch: lastEpoch, sequence: lastSequence, clockMs })
      this.partitions++
      this.entries += read.loaded
      this.expired += read.expired
      this.ofUnknownRegions += read.ofUnknownRegions
      return undefined
    } catch (error) {
      roles.endLoading(partition, undefined)
      return toCacheError(error)
    }
  }
}

/** What the node held as this record was kept, and what the ring wants on it. */
function partitionsOf(topology: Topology, nodeId: string): number[] {
  const own = new Set(topology.nodes.flatMap((node, index) => (node.nodeId === nodeId ? [index] : [])))
  const wanted = wantedPlacement(topology)
  return topology.partitions.flatMap(({ inSync, learners, unsettled }, partition) => {
    const isHeld =
      inSync.some((node) => own.has(node)) ||
      learners.some(({ node }) => own.has(node)) ||
      unsettled.some(({ members }) => members.some((node) => own.has(node))) ||
      wanted[partition]?.some((node) => own.has(node)) === true
    return isHeld ? [partition] : []
  })
}

/** A disk that hangs is not waited for: what it says later comes to nothing. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let abort = (): void => {}
  const aborted = new Promise<never>((_, reject) => {
    abort = (): void => reject(new CacheError('ABORTED', 'it takes too long'))
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort)
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
