/**
 * What the commands about backups share: a run begins on some node, which is asked how far it is until it ends. When that node ends
 * first, another one is asked to go on; runs that can't go on elsewhere end with an error that says so.
 */

import { isAbsolute, resolve } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { systemClock } from '../adapters/system/clock.ts'
import { CacheError, type ErrorCode } from '../kernel/errors.ts'
import { parseBytes } from '../kernel/units.ts'
import type { AdminApi, BackupRunMessage, StartBackupRunRequest } from '../wire/admin.ts'
import { pause, type SharedOptions, withCluster, withSharedOptions } from './connection.ts'

export interface PlaceOptions extends SharedOptions {
  readonly to?: string
}

const POLL_MS = 200
const SHOWN_EVERY_MS = 1000
/** Nodes that are asked in turn, before it is given up. */
const STARTS_MAX = 10
const START_AGAIN_MS = 1000

export function withPlace(command: Command, what: string): Command {
  return withSharedOptions(command).option('--to <place>', `${what}: a folder or s3://bucket/prefix`)
}

export function rate(text: string): number {
  try {
    return parseBytes(/^\d+$/.test(text) ? Number(text) : text)
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error))
  }
}

type Wanted = Partial<StartBackupRunRequest> & Pick<StartBackupRunRequest, 'action'>

/** @param again what to ask another node for when the one that was asked ends; undefined: nothing */
export async function withRun<T>(
  options: PlaceOptions,
  wanted: Wanted,
  again: Partial<StartBackupRunRequest> | undefined,
  text: (run: BackupRunMessage) => string,
  show: (result: T) => void,
): Promise<void> {
  await withCluster(options, async (api) => {
    const request = requestOf(options, wanted)
    const line = new ProgressLine(options.output === 'text')
    for (let start = 1; ; start++) {
      const { runId } = await api.startBackupRun(start === 1 ? request : { ...request, ...again })
      const run = await follow(api, runId, (now) => line.show(text(now)))
      if (run !== undefined) {
        line.end()
        if (run.state === 'failed')
          throw new CacheError(run.code === '' ? 'INTERNAL' : (run.code as ErrorCode), run.message)
        show(JSON.parse(run.result) as T)
        return
      }
      if (again === undefined || start === STARTS_MAX) {
        line.end()
        throw new CacheError('UNAVAILABLE', 'the node that saw to it has ended: run the command again')
      }
      await pause(START_AGAIN_MS)
    }
  })
}

/** Undefined: the node that began it knows nothing of it, or is gone. */
async function follow(
  api: AdminApi,
  runId: string,
  progress: (run: BackupRunMessage) => void,
): Promise<BackupRunMessage | undefined> {
  for (let delayMs = 10; ; delayMs = Math.min(POLL_MS, delayMs * 2)) {
    let run: BackupRunMessage
    try {
      run = await api.getBackupRun({ runId, cancel: false })
    } catch (error) {
      // Another node answered in its place.
      if (error instanceof CacheError && ['INVALID_ARGUMENT', 'TIMEOUT'].includes(error.code))
        return undefined
      throw error
    }
    if (run.state !== 'running') return run
    progress(run)
    await pause(delayMs)
  }
}

function requestOf({ to = '' }: PlaceOptions, wanted: Wanted): StartBackupRunRequest {
  return {
    name: '',
    place: to === '' || to.startsWith('s3://') || isAbsolute(to) ? to : resolve(to),
    bytesPerSecond: 0,
    resume: false,
    regions: [],
    prefix: '',
    mode: '',
    dryRun: false,
    skipDamaged: false,
    ...wanted,
  }
}

/** How far it is, on stderr: one line that is written over on a terminal, a line now and then elsewhere. */
class ProgressLine {
  readonly #isShown: boolean
  #width = 0
  #dueMs = Number.NEGATIVE_INFINITY

  constructor(isShown: boolean) {
    this.#isShown = isShown
  }

  show(text: string): void {
    if (!this.#isShown || text === '') return
    const nowMs = systemClock.monotonicMs()
    if (process.stderr.isTTY) {
      process.stderr.write(`\r${text.padEnd(this.#width)}`)
      this.#width = text.length
    } else if (nowMs >= this.#dueMs) {
      this.#dueMs = nowMs + 5 * SHOWN_EVERY_MS
      console.error(text)
    }
  }

  end(): void {
    if (this.#width > 0) process.stderr.write('\n')
    this.#width = 0
  }
}
