import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { connect } from '../../src/client/connect.ts'
import type { EndedRunMessage, ListJobsReply } from '../../src/wire/admin-jobs.ts'
import { startNodeProcesses } from '../support/node-processes.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
/** Each node once; `RINGCACHE_KILLS=30` for more. */
const KILLS = Number(process.env['RINGCACHE_KILLS'] ?? 3)
const OPTIONS = {
  replication: { partitions: 64 },
  maintenance: {
    schedule: '* * * * * *',
    startWithin: '3s',
    tasks: [{ type: 'cleanup', olderThan: '1h' }],
  },
}

async function ask<T>(addresses: readonly string[], ...words: string[]): Promise<T> {
  const { stdout } = await promisify(execFile)(process.execPath, [
    MAIN,
    ...words,
    '-o',
    'json',
    '-a',
    addresses.join(),
  ])
  return JSON.parse(stdout) as T
}

describe('a job of every second', () => {
  it('is done once at each time, or reported missed, whichever node is killed', async () => {
    await using processes = await startNodeProcesses(9600, 3, OPTIONS)
    const { addresses, nodes } = processes
    const ended = new Map<number, string>()
    const missed: EndedRunMessage[] = []
    const problems: string[] = []
    const look = async (): Promise<void> => {
      for (const run of await ask<EndedRunMessage[]>(addresses, 'jobs', 'history')) {
        if (run.outcome === 'missed') {
          const known = missed.findIndex(({ atMs }) => atMs === run.atMs)
          if (known < 0) missed.push(run)
          else missed[known] = run
          continue
        }
        const text = `${run.outcome} on ${run.nodeId}, attempt ${run.attempt}`
        const before = ended.get(run.atMs)
        if (before !== undefined && before !== text) problems.push(`${run.atMs}: ${before} and ${text}`)
        ended.set(run.atMs, text)
      }
    }
    for (let kill = 0; kill < KILLS; kill++) {
      // Nodes take turns: each is the driver or the owner of some run.
      const victim = nodes[kill % nodes.length]
      if (victim === undefined) throw new Error('three nodes')
      await sleep(1500 + 137 * kill)
      await processes.kill(victim.id)
      await sleep(2500)
      await look()
      processes.start(victim.id)
      await sleep(2500)
      await look()
    }
    await sleep(5000)
    await look()
    const { jobs } = await ask<ListJobsReply>(addresses, 'jobs', 'list')
    expect(problems).toEqual([])

    const [first = 0] = [...ended.keys()].sort((a, b) => a - b)
    const last = Math.max(...ended.keys())
    expect((last - first) / 1000).toBeGreaterThan(KILLS * 5)
    const wrong: string[] = []
    for (let at = first; at <= last; at += 1000) {
      const times = missed.filter((run) => run.atMs <= at && at <= run.endedMs).length
      if (times + (ended.has(at) ? 1 : 0) !== 1)
        wrong.push(`${new Date(at).toISOString()}: ${ended.get(at) ?? 'no run'}, missed ${times} times`)
    }
    expect(wrong).toEqual([])
    expect(jobs[0]?.done).toBeGreaterThan(KILLS * 2)
    // Not one that was killed left a run open.
    const { runs } = await ask<ListJobsReply>(addresses, 'jobs', 'list')
    expect(runs.filter((run) => Date.now() - run.startedMs > 5000)).toEqual([])
  }, 120_000)
})

describe('a backup on a schedule', () => {
  it('goes on elsewhere when its node is killed, and keeps the newest', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ringcache-backups-'))
    try {
      await using processes = await startNodeProcesses(9610, 3, {
        replication: { partitions: 64 },
        backup: {
          schedule: '*/3 * * * * *',
          keep: 2,
          storage: { type: 'directory', path: folder },
        },
      })
      const { addresses, nodes } = processes
      await using cache = await connect({ nodes: addresses, timeout: 10_000 })
      await cache.mset(Array.from({ length: 2000 }, (_, i) => [`k${i}`, 'v'.repeat(500)] as const))
      const rateless = (await ask<ListJobsReply>(addresses, 'jobs', 'list')).jobs[0]
      expect(rateless?.definition).toMatchObject({ name: 'backup', kind: 'backup', spec: '{"keep":2}' })
      for (const victim of nodes) {
        await sleep(2900)
        await processes.kill(victim.id)
        await sleep(3000)
        processes.start(victim.id)
        await sleep(3000)
      }
      await ask(addresses, 'snapshot', 'schedule', '--never')
      await sleep(6000)
      const history = await ask<EndedRunMessage[]>(addresses, 'jobs', 'history', 'backup')
      const done = history.filter(({ outcome }) => outcome === 'done')
      expect(done.length).toBeGreaterThan(3)
      expect(history.filter(({ outcome }) => outcome === 'failed')).toEqual([])
      const backups = await ask<{ name: string; state: string }[]>(addresses, 'snapshot', 'list')
      const complete = backups.filter(({ state }) => state === 'complete')
      // The newest two; one more where the last owner died before it removed any.
      expect(complete.length).toBeGreaterThanOrEqual(2)
      expect(complete.length).toBeLessThanOrEqual(3)
      for (const { name } of complete) await ask(addresses, 'snapshot', 'verify', name)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }, 120_000)
})
