/**
 * A node's work on backups: it writes the partitions that it is asked for, part after part, into the place it is told, and says how far it
 * is whenever it is asked again.
 *
 * - One task at a time; another one is told that it is busy.
 * - Whoever asks does so every moment; after LEASE_MS of silence the task ends by itself.
 * - A part holds about PART_BYTES, so that little is lost when it fails.
 */

import type { Clock } from '../kernel/clock.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import { type Random, randomHex } from '../kernel/random.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import type { BackupStore } from '../snapshot/backup-store.ts'
import type { Compression } from '../snapshot/compression.ts'
import { Pace } from '../snapshot/pace.ts'
import type { SnapshotProgress, SnapshotSource } from '../snapshot/snapshot-writer.ts'
import type { WritePartsReply, WritePartsRequest } from '../wire/admin.ts'
import { checkBackupName } from './backup-manifest.ts'
import { writePart } from './part-writer.ts'

export interface PartSource extends SnapshotSource {
  readonly clusterId: string
}

export interface PartAgentPorts {
  readonly nodeId: string
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly random: Random
  readonly log: Log
  readonly compression: Compression
  /** Opens a place of backups. @throws CacheError when it can't be used */
  open(place: string, signal: AbortSignal): Promise<BackupStore>
  /** Those of these partitions that this node is primary of. @throws CacheError NOT_READY while it holds nothing */
  source(partitions: readonly number[]): PartSource
}

const PART_BYTES = 64 * 1024 * 1024
const PARTITIONS_MAX = 65_536
const LEASE_MS = 20_000

interface Task {
  readonly id: string
  readonly backup: string
  readonly abort: AbortController
  readonly parts: string[]
  state: 'working' | 'done' | 'failed'
  error: CacheError | undefined
  partitionsDone: number
  entries: number
  rawBytes: number
  storedBytes: number
  /** Of the part under way. */
  progress: SnapshotProgress | undefined
  lease: Timer | undefined
}

export class PartAgent {
  readonly #ports: PartAgentPorts
  /** The one that is under way, or was last. */
  #task: Task | undefined

  constructor(ports: PartAgentPorts) {
    this.#ports = ports
  }

  /** @throws CacheError INVALID_ARGUMENT, NOT_READY */
  ask(request: WritePartsRequest): WritePartsReply {
    const task = this.#task
    if (task?.id === request.task) {
      if (request.cancel) task.abort.abort()
      else this.#renew(task)
      return replyOf(task)
    }
    if (request.cancel || request.partitions.length === 0) return { ...NOTHING, state: 'unknown' }
    if (task?.state === 'working') {
      const message = `it is writing its part of the backup ${task.backup}: one at a time`
      return { ...NOTHING, state: 'busy', code: 'OVERLOADED', message }
    }
    return replyOf(this.#begin(request))
  }

  /** Ends what is under way. */
  close(): void {
    this.#task?.abort.abort()
    this.#task?.lease?.cancel()
  }

  #begin(request: WritePartsRequest): Task {
    checkBackupName(request.backup)
    if (request.partitions.length > PARTITIONS_MAX)
      throw new CacheError('INVALID_ARGUMENT', `at most ${PARTITIONS_MAX} partitions are written in one go`)
    const task: Task = {
      id: request.task,
      backup: request.backup,
      abort: new AbortController(),
      parts: [],
      state: 'working',
      error: undefined,
      partitionsDone: 0,
      entries: 0,
      rawBytes: 0,
      storedBytes: 0,
      progress: undefined,
      lease: undefined,
    }
    this.#task = task
    this.#renew(task)
    this.#write(task, request).then(
      () => this.#over(task, 'done'),
      (error: unknown) => {
        task.error = toCacheError(error)
        this.#over(task, 'failed')
      },
    )
    return task
  }

  #over(task: Task, state: Task['state']): void {
    task.state = state
    task.progress = undefined
    task.lease?.cancel()
  }

  #renew(task: Task): void {
    task.lease?.cancel()
    if (task.state !== 'working') return
    task.lease = this.#ports.scheduler.after(LEASE_MS, () => {
      this.#ports.log.warn('nobody asks for a backup any more: it ends', { backup: task.backup })
      task.abort.abort()
    })
  }

  async #write(task: Task, { place, partitions, bytesPerSecond }: WritePartsRequest): Promise<void> {
    const { nodeId, clock, scheduler, random, log, compression } = this.#ports
    const { signal } = task.abort
    const store = await this.#ports.open(place, signal)
    try {
      const pace = new Pace(clock, scheduler, { bytesPerSecond, signal })
      for (const some of this.#portions(partitions)) {
        const part = `${nodeId}-${randomHex(random, 16)}`
        const source = this.#ports.source(some)
        const record = await writePart({
          backup: task.backup,
          part,
          clusterId: source.clusterId,
          node: nodeId,
          source,
          store,
          compression,
          pace,
          clock,
          log,
          signal,
          onProgress: (progress) => {
            task.progress = progress
          },
        })
        task.progress = undefined
        task.partitionsDone += some.length
        if (record === undefined) continue
        for (const { summary } of record.partitions) {
          task.entries += summary.entries
          task.rawBytes += summary.rawBytes
        }
        task.storedBytes += record.bytes
        task.parts.push(part)
      }
    } finally {
      await store.close().catch(() => {})
    }
  }

  /** Partitions of about PART_BYTES at a time; a larger one is a part of its own. */
  *#portions(partitions: readonly number[]): Generator<readonly number[]> {
    let some: number[] = []
    let bytes = 0
    for (const partition of [...partitions].sort((a, b) => a - b)) {
      const { engine } = this.#ports.source([partition])
      const own = engine.hasPartition(partition) ? engine.partitionBytes(partition) : 0
      if (some.length > 0 && bytes + own > PART_BYTES) {
        yield some
        some = []
        bytes = 0
      }
      some.push(partition)
      bytes += own
    }
    if (some.length > 0) yield some
  }
}

const NOTHING = {
  partitionsDone: 0,
  entries: 0,
  rawBytes: 0,
  storedBytes: 0,
  parts: [],
  code: '',
  message: '',
} as const

function replyOf(task: Task): WritePartsReply {
  const { state, parts, error, progress } = task
  return {
    state,
    partitionsDone: task.partitionsDone + (progress?.partitionsDone ?? 0),
    entries: task.entries + (progress?.writtenEntries ?? 0),
    rawBytes: task.rawBytes + (progress?.rawBytes ?? 0),
    storedBytes: task.storedBytes,
    parts: [...parts],
    code: error?.code ?? '',
    message: error?.message ?? '',
  }
}
