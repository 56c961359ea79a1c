/** Looks at the snapshots that a killed node left on its disk, as its next process will find them: every one listed has to be good. */

import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { LevelSnapshotStore } from '../../../src/adapters/level/level-snapshot-store.ts'
import { threadedCompression } from '../../../src/adapters/lz4/lz4-compression.ts'
import { systemClock } from '../../../src/adapters/system/clock.ts'
import { systemRandom } from '../../../src/adapters/system/random.ts'
import { systemScheduler } from '../../../src/adapters/system/scheduler.ts'
import { silentLog } from '../../../src/kernel/log.ts'
import { SnapshotLibrary } from '../../../src/snapshot/snapshot-library.ts'

export interface Audit {
  /** Snapshots that are listed, each read byte by byte. */
  readonly listed: number
  /** Snapshots that the end of the process cut short. */
  readonly unfinished: number
  readonly problems: readonly string[]
}

/** The node does not run. Its folder stays as it is: a copy is looked at. */
export async function auditSnapshots(dataDir: string, scratch: string): Promise<Audit> {
  const folder = join(dataDir, 'snapshots')
  if (!existsSync(folder)) return { listed: 0, unfinished: 0, problems: [] }
  rmSync(scratch, { recursive: true, force: true })
  cpSync(folder, scratch, { recursive: true })
  const problems: string[] = []
  let unfinished = 0
  const store = await LevelSnapshotStore.open(scratch)
  try {
    const library = await SnapshotLibrary.open({
      store,
      compression: threadedCompression,
      clock: systemClock,
      scheduler: systemScheduler,
      random: systemRandom,
      log: {
        ...silentLog,
        info: (message) => {
          if (message.includes('never finished')) unfinished++
        },
      },
    })
    for (const { id, error } of library.unusable()) problems.push(`${id} can't be used: ${error.message}`)
    for (const { id } of library.list()) {
      const { problems: found } = await library.verify(id)
      for (const { error } of found) problems.push(`${id} is listed, but ${error.message}`)
    }
    return { listed: library.list().length, unfinished, problems }
  } finally {
    await store.close()
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** How long the node's snapshots took to write, the longest, in milliseconds. */
export function slowestSnapshotMs(logFile: string): number {
  let slowestMs = 0
  for (const [, ms] of readFileSync(logFile, 'utf8').matchAll(/"storedBytes":\d+,"ms":(\d+)/g))
    slowestMs = Math.max(slowestMs, Number(ms))
  return slowestMs
}
