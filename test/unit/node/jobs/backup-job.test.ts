/** The scheduled backup: named by its time, gone on with by its next owner, and followed by what retention removes. */

import { describe, expect, it } from 'vitest'
import type { JobContext } from '../../../../src/jobs/job-kind.ts'
import { CacheError } from '../../../../src/kernel/errors.ts'
import { backupJob } from '../../../../src/node/jobs/backup-job.ts'

type Backups = Parameters<typeof backupJob>[0]

const AT_MS = Date.parse('2026-11-20T00:00:00Z')

class Recorded implements Backups {
  readonly calls: unknown[][] = []
  fails: CacheError | undefined

  async create(spec: object, { onProgress }: Parameters<Backups['create']>[1]): Promise<object> {
    this.calls.push(['create', spec])
    onProgress({ partitionsDone: 3, partitions: 8, entries: 70 })
    if (this.fails !== undefined) throw this.fails
    return {}
  }

  async prune(place: string, rules: object): Promise<readonly string[]> {
    this.calls.push(['prune', place, rules])
    return ['backup-20261113T000000Z']
  }
}

function run(backups: Backups, spec: object, more: Partial<JobContext> = {}): Promise<string> {
  return backupJob(backups, 1000).run({
    run: { job: 'backup', atMs: AT_MS, isManual: false, kind: 'backup', attempt: 1 },
    spec: spec as JobContext['spec'],
    isDryRun: false,
    signal: new AbortController().signal,
    check: () => {},
    report: () => {},
    ...more,
  })
}

describe('the backup of a schedule', () => {
  it('has a name that follows from its time, so that another owner goes on with it', async () => {
    const backups = new Recorded()
    expect(await run(backups, { keep: 3, retentionMs: 5000 })).toBe(
      'backup-20261120T000000Z: 70 entries; removed backup-20261113T000000Z',
    )
    expect(backups.calls).toEqual([
      ['create', { name: 'backup-20261120T000000Z', place: '', bytesPerSecond: 1000, resume: true }],
      ['prune', '', { prefix: 'backup-', keep: 3, keepForMs: 5000 }],
    ])
  })

  it('removes nothing without a rule, when it failed, and when the run is somebody else’s by then', async () => {
    const backups = new Recorded()
    await run(backups, {})
    expect(backups.calls).toHaveLength(1)
    backups.fails = new CacheError('UNAVAILABLE', 'the bucket does not answer')
    await expect(run(backups, { keep: 1 })).rejects.toThrow('does not answer')
    backups.fails = undefined
    let checks = 0
    const check = (): void => {
      if (++checks === 2) throw new CacheError('ABORTED', 'it goes on elsewhere')
    }
    await expect(run(backups, { keep: 1 }, { check })).rejects.toThrow('elsewhere')
    expect(backups.calls.filter(([what]) => what === 'prune')).toEqual([])
  })

  it('only tells what it would do in a dry run', async () => {
    const backups = new Recorded()
    const said = await run(backups, { keep: 3, retentionMs: 7 * 86_400_000 }, { isDryRun: true })
    expect(said).toBe(
      'would make the backup backup-20261120T000000Z and keep the newest 3 and those younger than 168 h',
    )
    expect(backups.calls).toEqual([])
  })

  it('refuses rules that are none', async () => {
    await expect(run(new Recorded(), { keep: 0 })).rejects.toThrow('keep and retention')
  })
})
