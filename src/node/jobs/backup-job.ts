/**
 * The scheduled backup: made under a name that follows from its time, so that another owner goes on with what this one left behind, and
 * then whatever the rules of retention do not keep is removed. Backups that somebody made by hand have other names, and stay.
 */

import type { JobContext, JobKind, JobSpec } from '../../jobs/job-kind.ts'
import { CacheError } from '../../kernel/errors.ts'

const BACKUP = 'backup'

/** What it needs of the backups of the cluster. */
interface BackupWork {
  create(
    spec: {
      readonly name: string
      readonly place: string
      readonly bytesPerSecond: number
      readonly resume: boolean
    },
    options: {
      readonly signal: AbortSignal
      readonly onProgress: (progress: BackupWorkProgress) => void
    },
  ): Promise<object>
  prune(
    place: string,
    retention: { readonly keep?: number; readonly keepForMs?: number; readonly prefix: string },
    options: { readonly signal: AbortSignal },
  ): Promise<readonly string[]>
}

interface BackupWorkProgress {
  readonly partitionsDone: number
  readonly partitions: number
  readonly entries: number
}

/** The place of the configuration. */
const CONFIGURED = ''

export function backupJob(backups: BackupWork, bytesPerSecond: number): JobKind {
  return {
    kind: BACKUP,
    async run(context: JobContext): Promise<string> {
      const { run, spec, isDryRun, signal } = context
      const name = backupNameOf(run.job, run.atMs)
      if (isDryRun) return `would make the backup ${name}${rulesText(spec)}`
      let entries = 0
      context.check()
      await backups.create(
        { name, place: CONFIGURED, bytesPerSecond, resume: true },
        {
          signal,
          onProgress: (progress) => {
            entries = progress.entries
            const { partitionsDone: done, partitions: total } = progress
            context.report({ done, total, text: `${entries} entries` })
          },
        },
      )
      const { keep, retentionMs } = rulesOf(spec)
      const made = `${name}: ${entries} entries`
      if (keep === undefined && retentionMs === undefined) return made
      context.check()
      const rules = {
        prefix: `${run.job}-`,
        ...(keep === undefined ? {} : { keep }),
        ...(retentionMs === undefined ? {} : { keepForMs: retentionMs }),
      }
      const removed = await backups.prune(CONFIGURED, rules, { signal })
      return removed.length === 0 ? made : `${made}; removed ${removed.join(', ')}`
    },
  }
}

/** Fit for the name of an object, and sorted by time. */
function backupNameOf(job: string, atMs: number): string {
  return `${job}-${new Date(atMs).toISOString().replaceAll(/[:-]|\.\d+/g, '')}`
}

function rulesOf({ keep, retentionMs }: JobSpec): { keep?: number; retentionMs?: number } {
  for (const rule of [keep, retentionMs]) {
    if (rule !== undefined && !(typeof rule === 'number' && rule > 0))
      throw new CacheError('CONFIGURATION', 'keep and retention of a backup are numbers above 0')
  }
  return {
    ...(typeof keep === 'number' ? { keep } : {}),
    ...(typeof retentionMs === 'number' ? { retentionMs } : {}),
  }
}

function rulesText(spec: JobSpec): string {
  const { keep, retentionMs } = rulesOf(spec)
  const rules = [
    ...(keep === undefined ? [] : [`the newest ${keep}`]),
    ...(retentionMs === undefined ? [] : [`those younger than ${Math.round(retentionMs / 3_600_000)} h`]),
  ]
  return rules.length === 0 ? ' and keep all' : ` and keep ${rules.join(' and ')}`
}
