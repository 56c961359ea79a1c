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
    const stop = new AbortController()
    process.once('SIGINT', () => stop.abort())
    for (let start = 1; ; start++) {
      const run = await attempt(
        api,
        start === 1 ? request : { ...request, ...again },
        start > 1,
        stop,
        (now) => line.show(text(now)),
      )
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

/** Undefined: the node that was asked is gone, or knows nothing of the run any more. */
async function attempt(
  api: AdminApi,
  request: StartBackupRunRequest,
  isAnother: boolean,
  stop: AbortController,
  progress: (run: BackupRunMessage) => void,
): Promise<BackupRunMessage | undefined> {
  let runId = ''
  try {
    const begun = await api.startBackupRun(request)
    runId = begun.runId
    for (let delayMs = 10; ; delayMs = Math.min(POLL_MS, delayMs * 2)) {
      const run = await api.getBackupRun({ runId, cancel: stop.signal.aborted })
      if (run.state !== 'running') return run
      progress(run)
      await pause(delayMs)
    }
  } catch (error) {
    // Before the first run nothing is lost: the error is to be seen.
    const isFirst = runId === '' && !isAnother
    if (!isFirst && error instanceof CacheError && GONE.includes(error.code) && !stop.signal.aborted)
      return undefined
    throw error
  }
}

/** INVALID_ARGUMENT: another node answered in its place, and knows no such run. */
const GONE: readonly ErrorCode[] = ['INVALID_ARGUMENT', 'UNAVAILABLE', 'NOT_READY', 'TIMEOUT']

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
