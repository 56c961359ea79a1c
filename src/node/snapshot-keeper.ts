/**
 * The snapshots of a node that runs: brings back the newest at the start, writes one each interval, at its turn (snapshot-turns.ts), and
 * at an orderly stop.
 *
 * ```
 * opening ─► loading ─► running ─► closed
 *    └────────────────────▲  (the store can't be opened: tried again each interval)
 * ```
 * - The node asks for a role from `running` on: what it brings back is there by then, and no role is touched by loading.
 * - An interval in which nothing changed writes nothing. So does a node that has yet to be given what it brought back: its newest
 *   snapshot has more than it holds.
 * - An error costs this snapshot, never service; it is logged once until it changes or is over. So does a disk that hangs: neither
 *   the start nor the stop waits for it.
 */

import type { Clock } from '../kernel/clock.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import type { Random } from '../kernel/random.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import type { Observer } from '../observability/observer.ts'
import type { Compression } from '../snapshot/compression.ts'
import type { SnapshotManifest, SnapshotPosition } from '../snapshot/manifest.ts'
import { SnapshotLibrary } from '../snapshot/snapshot-library.ts'
import type { SnapshotStore } from '../snapshot/snapshot-store.ts'
import type { SnapshotSource } from '../snapshot/snapshot-writer.ts'
import type { Remembered } from '../wire/control-frames.ts'
import type { DataPlane } from './data-plane.ts'
import type { SnapshotOptions } from './options.ts'
import { untilTurnMs } from './snapshot-turns.ts'
import { warmStart } from './warm-start.ts'

/** Where snapshots lie, and how they are packed. */
export interface SnapshotMedium {
  readonly compression: Compression
  /** Opens the store. @throws CacheError when another process uses it, or it can't be written */
  open(): Promise<SnapshotStore>
}

export interface SnapshotKeeperPorts {
  readonly medium: SnapshotMedium
  readonly nodeId: string
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly random: Random
  readonly log: Log
  readonly observer: Observer
  plane(): DataPlane | undefined
  /** All is loaded that will be; called again when less of it is left. */
  loaded(partitions: readonly Remembered[]): void
}

export interface SnapshotStatus {
  readonly state: 'opening' | 'loading' | 'running' | 'closed'
  /** Time of the last one that was made, of this process or one before; undefined: there is none. */
  readonly lastMs: number | undefined
  /** Entries in it. */
  readonly entries: number
  /** How long it took, and what was written for it. */
  readonly durationMs: number
  readonly storedBytes: number
  readonly isWriting: boolean
  /** Why the last attempt came to nothing; undefined: it did not fail. */
  readonly failure: string | undefined
}

/** For opening the store. With the time for loading (warm-start.ts) less than the others wait before they replace a node. */
const OPEN_MS = 8000
/** From the end of one snapshot to the next, however long it took. */
const PAUSE_MIN_MS = 500
/** How often the turn is looked up, for nodes come and go. Longer than what untilTurnMs skips. */
const LOOK_MS = 5000
/** While the node serves, before it stops. */
const SAVE_MS = 2500
/** While its clients wait. */
const SAVE_REST_MS = 500
/** Events about single snapshots that can't be used: of the newest ones. */
const UNUSABLE_MAX = 20
/** How often the others are told that less is left of what was loaded. */
const TELL_MS = 5000

export class SnapshotKeeper {
  readonly #options: SnapshotOptions
  readonly #ports: SnapshotKeeperPorts
  #library: SnapshotLibrary | undefined
  #opening: Promise<void> | undefined
  /** What was brought back was damaged: nothing is to build on that. */
  #startsAnew = false
  #isHeldBack = false
  #state: SnapshotStatus['state'] = 'opening'
  #isStarted = false
  #failure: string | undefined
  #last: SnapshotManifest | undefined
  /** What the last snapshot of this process was made of. */
  #content = ''
  #writing: Promise<boolean> | undefined
  /** Ends what is under way. */
  #abort = new AbortController()
  #timer: Timer | undefined
  #tellTimer: Timer | undefined
  #told = -1

  constructor(options: SnapshotOptions, ports: SnapshotKeeperPorts) {
    this.#options = options
    this.#ports = ports
  }

  /** Whether the node may ask for a role. */
  get isReady(): boolean {
    return this.#state !== 'opening' && this.#state !== 'loading'
  }

  get status(): SnapshotStatus {
    const { startedMs = 0, finishedMs, entries = 0, storedBytes = 0 } = this.#last ?? {}
    return {
      state: this.#state,
      lastMs: finishedMs,
      entries,
      // By the wall clock of the process that made it.
      durationMs: Math.max(0, (finishedMs ?? 0) - startedMs),
      storedBytes,
      isWriting: this.#writing !== undefined,
      failure: this.#failure,
    }
  }

  /** The node knows a topology. @param hasRole it is part of it already: nothing is brought back */
  start(hasRole: boolean): void {
    if (this.#isStarted) return
    this.#isStarted = true
    this.#begin(hasRole).catch((error: unknown) => this.#failed(error))
  }

  /** Before a stop, while the node serves. */
  async save(): Promise<void> {
    if (!this.#options.onStop || this.#state !== 'running') return
    await this.#within(SAVE_MS, () => this.#cancel())
  }

  /** Before a stop, when nothing changes any more but what the others order. */
  async saveRest(): Promise<void> {
    if (!this.#options.onStop || this.#state !== 'running' || this.#failure !== undefined) return
    await this.#within(SAVE_REST_MS)
  }

  /** @returns once another process, or this one, may open the store */
  async close(): Promise<void> {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#timer?.cancel()
    this.#tellTimer?.cancel()
    this.#abort.abort()
    await this.#library?.close().catch(() => {})
  }

  async #begin(hasRole: boolean): Promise<void> {
    try {
      await this.#openSoon()
      const plane = this.#ports.plane()
      if (!hasRole && plane !== undefined && this.#library !== undefined) {
        this.#become('loading')
        const { engine, replicator } = plane
        const { topology, memory } = plane
        const ports = { ...this.#ports, library: this.#library, engine, memory, roles: replicator.roles }
        const isGood = await warmStart(topology, this.#ports.nodeId, ports, this.#abort.signal)
        this.#startsAnew = !isGood
      }
    } catch (error) {
      this.#failed(error)
    }
    this.#become('running')
    if (this.#state !== 'running') return
    this.#tell()
    this.#arm()
  }

  #become(state: SnapshotStatus['state']): void {
    if (this.#state !== 'closed') this.#state = state
  }

  /** Opens the store, but does not wait for long. */
  async #openSoon(): Promise<void> {
    if (this.#library !== undefined) return
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined
    })
    let timer: Timer | undefined
    const isOver = new Promise<never>((_, reject) => {
      const error = new CacheError('STORAGE_FAILED', 'the snapshots can not be opened: does their disk hang?')
      timer = this.#ports.scheduler.after(OPEN_MS, () => reject(error))
    })
    try {
      await Promise.race([this.#opening, isOver])
    } finally {
      timer?.cancel()
    }
  }

  async #open(): Promise<void> {
    const { medium } = this.#ports
    const store = await medium.open()
    try {
      this.#library = await SnapshotLibrary.open({ ...this.#ports, store, compression: medium.compression })
    } catch (error) {
      await store.close().catch(() => {})
      throw error
    }
    if (this.#state === 'closed') await this.#library.close().catch(() => {})
    this.#last = this.#library.list().at(-1)
    this.#reportFound(this.#library)
  }

  /** What can't be used of what an earlier process left. */
  #reportFound(library: SnapshotLibrary): void {
    const { observer } = this.#ports
    const unfinished = library.unfinished()
    observer.count('ringcache_snapshots_unfinished_total', {}, unfinished.length)
    for (const id of unfinished.slice(-UNUSABLE_MAX)) {
      const message = `snapshot ${id} was never finished, or its end is damaged: it is removed`
      observer.raise('snapshot.unfinished', { message, subject: id, details: { snapshot: id } })
    }
    const unusable = library.unusable()
    observer.count('ringcache_snapshots_unusable_total', {}, unusable.length)
    for (const { id, error } of unusable.slice(-UNUSABLE_MAX)) {
      const { code, message } = error
      observer.raise('snapshot.unusable', { message, subject: id, details: { snapshot: id, code } })
    }
  }

  /** @param latestMs monotonic time by which the next one begins, its turn or not */
  #arm(latestMs: number = Number.POSITIVE_INFINITY): void {
    if (this.#state !== 'running') return
    const { clock, scheduler } = this.#ports
    const { intervalMs, bytesPerSecond } = this.#options
    const waitMs = Math.min(this.#untilTurnMs(), Math.max(PAUSE_MIN_MS, latestMs - clock.monotonicMs()))
    this.#timer?.cancel()
    if (waitMs > 2 * LOOK_MS) {
      this.#timer = scheduler.after(LOOK_MS, () => this.#arm(latestMs))
      return
    }
    this.#timer = scheduler.after(waitMs, () => {
      const begunMs = clock.monotonicMs()
      // It says itself what fails. What took longer than an interval is followed by the next at once.
      void this.#write(bytesPerSecond).then(() => this.#arm(begunMs + intervalMs))
    })
  }

  #untilTurnMs(): number {
    const { clock, nodeId, plane } = this.#ports
    const nodes = plane()?.topology.nodes.filter(({ state }) => state !== 'gone') ?? []
    const place = nodes.findIndex((node) => node.nodeId === nodeId)
    const { intervalMs } = this.#options
    return untilTurnMs({ intervalMs, wallMs: clock.wallMs(), place, places: nodes.length })
  }

  #tell(): void {
    const loaded = this.#ports.plane()?.replicator.roles.loaded ?? new Map()
    if (loaded.size !== this.#told) {
      this.#told = loaded.size
      this.#ports.loaded(
        [...loaded].map(([partition, { epoch, sequence }]) => ({ partition, epoch, sequence })),
      )
    }
    if (this.#told > 0) this.#tellTimer = this.#ports.scheduler.after(TELL_MS, () => this.#tell())
  }

  /** What is under way ends, so that another can begin. */
  async #cancel(): Promise<void> {
    this.#abort.abort()
    await this.#writing
    this.#abort = new AbortController()
  }

  /** Writes without a limit of rate, for so long at most, what has to be done before included. */
  async #within(limitMs: number, before: () => Promise<void> = async () => {}): Promise<void> {
    const { scheduler, log } = this.#ports
    let isOver = false
    let timer: Timer | undefined
    const over = new Promise<void>((resolve) => {
      timer = scheduler.after(limitMs, () => {
        isOver = true
        resolve()
      })
    })
    const work = async (): Promise<void> => {
      await before()
      if (!isOver) await this.#write(0, true)
    }
    await Promise.race([work(), over])
    timer?.cancel()
    if (!isOver) return
    this.#abort.abort()
    log.warn('the last snapshot before the stop takes too long and is left out', { limitMs })
  }

  /** @param isLast nothing but the snapshot is seen to. @returns whether what the node holds is on the disk; it never fails */
  #write(bytesPerSecond: number, isLast = false): Promise<boolean> {
    const { signal } = this.#abort
    this.#writing ??= this.#create(bytesPerSecond, isLast, signal)
      .catch((error: unknown) => {
        if (!signal.aborted) this.#failed(error)
        return false
      })
      .finally(() => {
        this.#writing = undefined
      })
    return this.#writing
  }

  async #create(bytesPerSecond: number, isLast: boolean, signal: AbortSignal): Promise<boolean> {
    const { nodeId, log, clock } = this.#ports
    const plane = this.#ports.plane()
    await this.#openSoon()
    const library = this.#library
    if (library === undefined || plane === undefined || this.#mustWait(plane)) return false
    if (!isLast) await library.tidy()
    const source = sourceOf(plane)
    const content = contentOf(source)
    if (content === this.#content || content === '') return this.#recovered()
    const begunMs = clock.monotonicMs()
    const { clusterId } = plane
    const kind = this.#startsAnew ? 'full' : 'incremental'
    const manifest = await library.create({ clusterId, node: nodeId, source, kind, bytesPerSecond, signal })
    this.#last = manifest
    this.#startsAnew = false
    this.#content = manifest.skipped.length === 0 ? content : ''
    const { id, entries, writtenEntries, storedBytes } = manifest
    const ms = Math.round(clock.monotonicMs() - begunMs)
    log.info('snapshot', { id, kind: manifest.kind, entries, writtenEntries, storedBytes, ms })
    this.#ports.observer.count('ringcache_snapshots_total', { result: 'done' })
    if (!isLast) await library.prune({ keep: keptOf(library.list(), this.#options.keepFulls) })
    return this.#recovered()
  }

  /** A new snapshot would lack what the node has yet to be given, and in time take the place of the one that has it. */
  #mustWait({ replicator }: DataPlane): boolean {
    const partitions = replicator.roles.loaded.size
    const isHeldBack = partitions > 0
    if (isHeldBack && !this.#isHeldBack)
      this.#ports.log.info('no snapshot while the node has no role yet in what it brought back', {
        partitions,
      })
    this.#isHeldBack = isHeldBack
    return isHeldBack
  }

  #recovered(): true {
    const { log, observer } = this.#ports
    if (this.#failure !== undefined) {
      log.info('snapshots are made again')
      observer.settle('snapshot.failed')
      observer.raise('snapshot.recovered', { message: 'snapshots are made again' })
    }
    this.#failure = undefined
    return true
  }

  #failed(error: unknown): void {
    const { code, message } = toCacheError(error)
    if (this.#state === 'closed') return
    const { observer } = this.#ports
    observer.count('ringcache_snapshots_total', { result: 'failed' })
    observer.raise('snapshot.failed', { message, details: { code } })
    if (this.#failure === message) return
    this.#failure = message
    this.#ports.log.warn('no snapshot can be made; the node serves on', { code, reason: message })
  }
}

/** All that this node holds whole. */
function sourceOf(plane: DataPlane): SnapshotSource {
  const { engine, replicator } = plane
  const position = (partition: number): SnapshotPosition | undefined => {
    const replica = replicator.replica(partition)
    if (replica?.role !== 'primary' && replica?.role !== 'backup') return undefined
    const { partitionEpoch, lastEpoch, lastSequence, clockMs } = replica
    return { partitionEpoch, lastEpoch, lastSequence, clockMs }
  }
  return {
    engine,
    partitions: () => {
      const whole: number[] = []
      for (const { partition } of replicator.replicas()) if (position(partition)) whole.push(partition)
      return whole
    },
    position,
    regions: () => plane.topology.regions,
  }
}

/** Differs whenever a snapshot would. Empty: there is nothing to write. */
function contentOf(source: SnapshotSource): string {
  return source
    .partitions()
    .map((partition) => {
      const { lastEpoch = 0, lastSequence = 0 } = source.position(partition) ?? {}
      return `${partition}/${lastEpoch}/${lastSequence}`
    })
    .join(' ')
}

/** So many of the newest snapshots hold `fulls` full ones, with what builds on them. */
function keptOf(snapshots: readonly SnapshotManifest[], fulls: number): number {
  let kept = 0
  for (const { kind } of snapshots.toReversed()) {
    kept++
    if (kind === 'full' && --fulls <= 0) break
  }
  return Math.max(1, kept)
}
