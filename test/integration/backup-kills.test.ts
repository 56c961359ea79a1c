/**
 * Nodes are killed at random moments while a backup is made and brought back: nothing that is listed as complete is not whole, every
 * acknowledged write is in it, and a restore that was cut off comes to its end. `RINGCACHE_KILLS=100` for more of them.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { BackupListing } from '../../src/backup/cluster-backups.ts'
import type { Verification } from '../../src/backup/verify-run.ts'
import { connect } from '../../src/client/connect.ts'
import { integerBetween, SeededRandom } from '../../src/kernel/random.ts'
import { resultOf, runCommand } from '../support/backup/command.ts'
import { expectVaried, writeVaried } from '../support/backup/varied-data.ts'
import { startNodeProcesses } from '../support/node-processes.ts'

const PORT = 9440
const KILLS = Number(process.env['RINGCACHE_KILLS'] ?? 2)
const SEED = Number(process.env['RINGCACHE_SEED'] ?? 1)
const REGIONS = { sessions: {}, products: {} }

it(
  `kill -9 at ${KILLS} random moments (seed ${SEED})`,
  async () => {
    const random = new SeededRandom(SEED)
    const folder = mkdtempSync(join(tmpdir(), 'ringcache-kills-'))
    const to = ['--to', folder]
    const more = {
      memory: { limit: '256mb' },
      replication: { partitions: 24, backlog: '32mb' },
      regions: REGIONS,
    }
    try {
      await using nodes = await startNodeProcesses(PORT, 3, more)
      const { addresses } = nodes
      await using cache = await connect({ nodes: addresses, timeout: 30_000 })
      const known = await writeVaried(cache, 400)
      const shaken = async (): Promise<string> => {
        const id = `node${integerBetween(random, 1, 3)}`
        await sleep(integerBetween(random, 100, 2200))
        await nodes.kill(id)
        return id
      }
      for (let kill = 0; kill < KILLS; kill++) {
        const name = `kill-${kill}`
        const order = [...addresses.slice(kill % 3), ...addresses.slice(0, kill % 3)]
        if (kill % 2 === 0) {
          const create = runCommand(order, 'snapshot', 'create', name, '--rate', '2mb', ...to)
          const id = await shaken()
          const found = await resultOf<BackupListing[]>(addresses, 'snapshot', 'list', ...to)
          for (const { name: one, state } of found) {
            expect(state).not.toBe('unusable')
            if (state === 'complete')
              expect(await resultOf<Verification>(addresses, 'snapshot', 'verify', one, ...to)).toMatchObject(
                {
                  isGood: true,
                },
              )
          }
          nodes.start(id)
          expect(await create.ended).toMatchObject({ code: 0 })
          const verified = await resultOf<Verification>(addresses, 'snapshot', 'verify', name, ...to)
          expect(verified.isGood).toBe(true)
          expect(verified.entries).toBeGreaterThanOrEqual(known.length)
        } else {
          for (const region of ['default', 'sessions', 'products']) await cache.region(region).clear()
          const restore = runCommand(order, 'snapshot', 'restore', `kill-${kill - 1}`, '--rate', '2mb', ...to)
          nodes.start(await shaken())
          expect(await restore.ended).toMatchObject({ code: 0 })
          await expectVaried(cache, known, 60_000)
          await resultOf(addresses, 'snapshot', 'delete', `kill-${kill - 1}`, ...to)
        }
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
  60_000 + KILLS * 30_000,
)
