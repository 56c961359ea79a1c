/**
 * Work on backups that this node was asked to see to: making, reading, checking, restoring and removing them. Who asked looks how far it
 * is from time to time, and may ask another node when this one ends.
 *
 * Bounded: RUNNING_MAX runs go on at a time, and RUNS_MAX are remembered.
 */

import { deleteBackup, listBackups, pruneBackups } from '../../backup/backup-catalog.ts'
import type { BackupManifest } from '../../backup/backup-manifest.ts'
import { BackupReader, readManifest } from '../../backup/backup-reader.ts'
import { BackupRun } from '../../backup/backup-run.ts'
import type {
  BackupListing,
  BackupProgress,
  BackupRetention,
  BackupSpec,
  ClusterBackups,
  RunOptions,
} from '../../backup/cluster-backups.ts'
import type { PartsPort } from '../../backup/part-workers.ts'
import {
  type RestoreProgress,
  type RestoreReport,
  RestoreRun,
  type RestoreSpec,
  type RestoreTarget,
} from '../../backup/restore-run.ts'
import { type Verification, VerifyRun } from '../../backup/verify-run.ts'
import type { Clock } from '../../kernel/clock.ts'
import { CacheError, type ErrorCode, toCacheError } from '../../kernel/errors.ts'
import type { Log } from '../../kernel/log.ts'
import { type Random, randomHex } from '../../kernel/random.ts'
import type { Scheduler } from '../../kernel/scheduler.ts'
import type { Observer } from '../../observability/observer.ts'
import type { BackupStore } from '../../snapshot/backup-store.ts'
import type { Compression } from '../../snapshot/compression.ts'
import { Pace } from '../../snapshot/pace.ts'
import type { Topology } from '../../topology/topology.ts'
import type * as api from '../../wire/admin.ts'

export interface BackupDeskPorts {
  readonly compression: Compression
  /** @param place '': as the configuration says. @throws CacheError when it can't be used */
  open(place: string, signal: AbortSignal | undefined): Promise<BackupStore>
  /** What backups write in a second, where nobody says otherwise; 0: no limit. */
  readonly bytesPerSecond: number
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly random: Random
  readonly log: Log
  readonly observer: Observer
  readonly parts: PartsPort
  readonly target: RestoreTarget
  /** @throws CacheError NOT_READY while there is none */
  topology(): Topology
  /** When a majority of the nodes that vote last confirmed it. */
  confirmedMs(): number
}

/** What asked for too much, or was given up, is no failure of backups. */
const NOT_FAILED: readonly ErrorCode[] = ['INVALID_ARGUMENT', 'ABORTED', 'CLOSED']
const RUNNING_MAX = 8
const RUNS_MAX = 64

type Action = 'create' | 'verify' | 'restore' | 'delete'

interface Named {
  readonly place: string
  readonly name: string
}

interface Run {
  readonly id: string
  readonly action: api.BackupAction
  readonly abort: AbortController
  state: api.BackupRunMessage['state']
  progress: Partial<BackupProgress & RestoreProgress>
  error: CacheError | undefined
  result: unknown
}

export class BackupDesk implements ClusterBackups {
  readonly #ports: BackupDeskPorts
  readonly #runs = new Map<string, Run>()

  constructor(ports: BackupDeskPorts) {
    this.#ports = ports
  }

  create(spec: BackupSpec, options: RunOptions<BackupProgress> = {}): Promise<BackupManifest> {
    return this.#told('create', spec, () =>
      this.#with(spec.place, options.signal, (store) =>
        new BackupRun(spec, store, this.#ports, options).run(),
      ),
    )
  }

  list(place: string, { signal }: RunOptions<never> = {}): Promise<readonly BackupListing[]> {
    return this.#with(place, signal, (store) => listBackups(store, signal))
  }

  show(place: string, name: string, { signal }: RunOptions<never> = {}): Promise<BackupManifest> {
    return this.#with(place, signal, (store) => readManifest(store, name, signal))
  }

  /** Reads every byte of a backup. */
  verify(
    place: string,
    name: string,
    bytesPerSecond: number,
    options: RunOptions<RestoreProgress> = {},
  ): Promise<Verification> {
    return this.#told('verify', { place, name }, async () => {
      const found = await this.#reading(place, name, bytesPerSecond, options, (reader) =>
        new VerifyRun(reader, this.#ports.clock, options).run(),
      )
      this.#tellDamage(place, found)
      return found
    })
  }

  restore(spec: RestoreSpec, options: RunOptions<RestoreProgress> = {}): Promise<RestoreReport> {
    const { target, clock } = this.#ports
    return this.#told('restore', spec, () =>
      this.#reading(spec.place, spec.name, spec.bytesPerSecond, options, (reader) =>
        new RestoreRun(spec, reader, target, clock, options).run(),
      ),
    )
  }

  delete(place: string, name: string, { signal }: RunOptions<never> = {}): Promise<void> {
    return this.#told('delete', { place, name }, () =>
      this.#with(place, signal, (store) => deleteBackup(store, name, signal)),
    )
  }

  prune(
    place: string,
    retention: BackupRetention,
    { signal }: RunOptions<never> = {},
  ): Promise<readonly string[]> {
    const { clock } = this.#ports
    const { clusterId } = this.#ports.topology()
    return this.#with(place, signal, (store) => pruneBackups(store, clusterId, retention, clock, signal))
  }

  /** Begins a run; `look` tells what becomes of it. @throws CacheError OVERLOADED, INVALID_ARGUMENT */
  start(request: api.StartBackupRunRequest): api.BackupRunMessage {
    let running = 0
    for (const { state } of this.#runs.values()) if (state === 'running') running++
    if (running >= RUNNING_MAX)
      throw new CacheError('OVERLOADED', `this node sees to ${running} runs of backups: wait, or ask another`)
    const run: Run = {
      id: randomHex(this.#ports.random, 16),
      action: request.action,
      abort: new AbortController(),
      state: 'running',
      progress: {},
      error: undefined,
      result: undefined,
    }
    this.#remember(run)
    this.#perform(run, request).then(
      (result) => {
        run.state = 'done'
        run.result = result
        this.#ports.log.info('work on a backup is done', { action: run.action, backup: request.name })
      },
      (error: unknown) => {
        run.state = 'failed'
        run.error = toCacheError(error)
        const { code, message } = run.error
        this.#ports.log.warn('work on a backup failed', {
          action: run.action,
          backup: request.name,
          code,
          reason: message,
        })
      },
    )
    return viewOf(run)
  }

  /** @throws CacheError INVALID_ARGUMENT when this node knows no such run */
  look({ runId, cancel }: api.BackupRunRequest): api.BackupRunMessage {
    const run = this.#runs.get(runId)
    if (run === undefined)
      throw new CacheError(
        'INVALID_ARGUMENT',
        `this node knows no run ${runId}: it may have started again since`,
      )
    if (cancel) run.abort.abort()
    return viewOf(run)
  }

  close(): void {
    for (const { abort } of this.#runs.values()) abort.abort()
  }

  /** Events and figures follow what comes of it. */
  async #told<T>(action: Action, { place, name }: Named, work: () => Promise<T>): Promise<T> {
    const { observer } = this.#ports
    const subject = `${action} ${place}`
    try {
      const result = await work()
      observer.count('ringcache_backup_runs_total', { action, result: 'done' })
      observer.settle('backup.failed', subject)
      return result
    } catch (error) {
      const { code, message } = toCacheError(error)
      if (!NOT_FAILED.includes(code)) {
        observer.count('ringcache_backup_runs_total', { action, result: 'failed' })
        observer.raise('backup.failed', {
          message: `${action} of backup ${name} failed: ${message}`,
          subject,
          details: { action, backup: name, place, code },
        })
      }
      throw error
    }
  }

  #tellDamage(place: string, { name, isGood, problems, problemCount }: Verification): void {
    const { observer } = this.#ports
    const subject = `${name} ${place}`
    if (isGood) observer.settle('backup.damaged', subject)
    else
      observer.raise('backup.damaged', {
        message: `backup ${name} is damaged in ${problemCount} places: ${problems[0] ?? ''}`,
        subject,
        details: { backup: name, place, problems: problemCount },
      })
  }

  #remember(run: Run): void {
    for (const { id, state } of this.#runs.values()) {
      if (this.#runs.size < RUNS_MAX) break
      if (state !== 'running') this.#runs.delete(id)
    }
    this.#runs.set(run.id, run)
  }

  async #perform(run: Run, request: api.StartBackupRunRequest): Promise<unknown> {
    const { action, name, place, bytesPerSecond, resume, regions, prefix, dryRun, skipDamaged } = request
    const options = {
      signal: run.abort.signal,
      onProgress: (progress: BackupProgress | RestoreProgress) => {
        run.progress = progress
      },
    }
    switch (action) {
      case 'CREATE': {
        const pace = bytesPerSecond === 0 ? this.#ports.bytesPerSecond : bytesPerSecond
        return this.create({ name, place, bytesPerSecond: pace, resume }, options)
      }
      case 'LIST':
        return this.list(place, { signal: run.abort.signal })
      case 'SHOW':
        return this.show(place, name, { signal: run.abort.signal })
      case 'VERIFY':
        return this.verify(place, name, bytesPerSecond, options)
      case 'RESTORE': {
        const mode = modeOf(request.mode)
        const spec = { name, place, regions, prefix, mode, dryRun, skipDamaged, bytesPerSecond }
        return this.restore(spec, options)
      }
      case 'DELETE':
        await this.delete(place, name, { signal: run.abort.signal })
        return { name, deleted: true }
      default:
        throw new CacheError('INVALID_ARGUMENT', `there is no action ${String(action)} of backups`)
    }
  }

  #reading<T>(
    place: string,
    name: string,
    bytesPerSecond: number,
    { signal }: RunOptions<RestoreProgress>,
    work: (reader: BackupReader) => Promise<T>,
  ): Promise<T> {
    const { clock, scheduler, compression } = this.#ports
    const pace = new Pace(clock, scheduler, { bytesPerSecond, ...(signal === undefined ? {} : { signal }) })
    return this.#with(place, signal, async (store) =>
      work(await BackupReader.open(name, { store, compression, pace, signal })),
    )
  }

  async #with<T>(
    place: string,
    signal: AbortSignal | undefined,
    work: (store: BackupStore) => Promise<T>,
  ): Promise<T> {
    const store = await this.#ports.open(place, signal)
    try {
      return await work(store)
    } finally {
      await store.close().catch(() => {})
    }
  }
}

function modeOf(text: string): RestoreSpec['mode'] {
  if (text === '' || text === 'absent') return 'absent'
  if (text === 'newer' || text === 'overwrite') return text
  throw new CacheError('INVALID_ARGUMENT', `"${text}" is no way to restore: use absent, newer or overwrite`)
}

function viewOf({ id, action, state, progress, error, result }: Run): api.BackupRunMessage {
  const { partitionsDone = 0, partitions = 0, entries = 0, written = 0, rawBytes = 0, etaMs } = progress
  return {
    runId: id,
    action,
    state,
    partitionsDone,
    partitions,
    entries,
    written,
    rawBytes,
    ...(etaMs === undefined ? {} : { etaMs }),
    code: error?.code ?? '',
    message: error?.message ?? '',
    result: result === undefined ? '' : JSON.stringify(result),
  }
}
