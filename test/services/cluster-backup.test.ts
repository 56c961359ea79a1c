/** Backups of a cluster of real processes in a bucket of a real server, and through one that fails. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { BackupManifest } from '../../src/backup/backup-manifest.ts'
import type { BackupListing } from '../../src/backup/cluster-backups.ts'
import type { RestoreReport } from '../../src/backup/restore-run.ts'
import type { Verification } from '../../src/backup/verify-run.ts'
import { connect } from '../../src/client/connect.ts'
import { resultOf, runCommand } from '../support/backup/command.ts'
import { expectVaried, REGIONS, writeVaried } from '../support/backup/varied-data.ts'
import { startNodeProcesses } from '../support/node-processes.ts'
import {
  BUCKET,
  FaultyS3,
  S3_KEY,
  S3_SECRET,
  type S3Fault,
  S3Server,
  s3ServerInstalled,
} from '../support/s3-server.ts'

const PORT = 9480
const FAST = {
  memory: { limit: '256mb' },
  replication: { partitions: 24, backlog: '32mb' },
  regions: REGIONS,
}
const VARIABLES = {
  AWS_ACCESS_KEY_ID: S3_KEY,
  AWS_SECRET_ACCESS_KEY: S3_SECRET,
  AWS_EC2_METADATA_DISABLED: 'true',
}

/** Nodes take their credentials from the environment they are started in. */
async function withEnvironment<T>(
  variables: Readonly<Record<string, string>>,
  work: () => Promise<T>,
): Promise<T> {
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const)
  Object.assign(process.env, variables)
  try {
    return await work()
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
}

function storage(endpoint: string, prefix: string): object {
  return { backup: { storage: { type: 's3', bucket: BUCKET, prefix, region: 'us-east-1', endpoint } } }
}

describe.skipIf(!s3ServerInstalled)('backups of a cluster in a bucket', () => {
  let server: S3Server
  beforeAll(async () => {
    server = await S3Server.start()
  })
  afterAll(() => server?.stop())

  it('come back into another cluster, though requests fail now and then', async () => {
    let fault: (method: string, number: number, path: string) => S3Fault = () => 'none'
    const proxy = new FaultyS3(server.endpoint, (...request) => fault(...request))
    const endpoint = await proxy.listen()
    try {
      const place = storage(endpoint, 'daily/')
      await using three = await withEnvironment(VARIABLES, () =>
        startNodeProcesses(PORT, 3, { ...FAST, ...place }),
      )
      await using from = await connect({ nodes: three.addresses, timeout: 20_000 })
      const known = await writeVaried(from, 800)
      const faults: readonly S3Fault[] = ['error-500', 'slow-down-503', 'cut', 'cut-answer']
      fault = (_method, number) => (number % 4 === 1 ? (faults[(number >> 2) % 4] as S3Fault) : 'none')
      const made = await resultOf<BackupManifest>(three.addresses, 'snapshot', 'create', 'monday')
      expect(made.entries).toBeGreaterThanOrEqual(known.length)
      const verified = await resultOf<Verification>(three.addresses, 'snapshot', 'verify', 'monday')
      expect(verified).toMatchObject({ isGood: true, entries: made.entries })
      expect(proxy.requests).toBeGreaterThan(20)

      // The other cluster names the place on the command line.
      await using two = await withEnvironment(VARIABLES, () =>
        startNodeProcesses(PORT + 10, 2, { ...FAST, replication: { partitions: 5, backlog: '32mb' } }),
      )
      await using into = await connect({ nodes: two.addresses, timeout: 20_000 })
      const to = ['--to', `s3://${BUCKET}/daily?endpoint=${endpoint}`]
      const report = await resultOf<RestoreReport>(two.addresses, 'snapshot', 'restore', 'monday', ...to)
      expect(report).toMatchObject({ kept: 0, refused: 0, damaged: [] })
      await expectVaried(into, known)

      // A server that only fails ends the run, with an error that says so; the cluster serves on.
      fault = () => 'error-500'
      const failed = await runCommand(three.addresses, 'snapshot', 'create', 'tuesday').ended
      expect([failed.code, failed.stderr]).toEqual([2, expect.stringContaining('after 5 tries')])
      fault = (method, _number, path) => (method === 'PUT' && path.includes('.data') ? 'error-500' : 'none')
      const late = await runCommand(three.addresses, 'snapshot', 'create', 'tuesday').ended
      expect([late.code, late.stderr]).toEqual([
        2,
        expect.stringMatching(/node\d: writing s3:.*after 5 tries/),
      ])
      expect(await from.get('default:a:3')).toBeDefined()
      fault = () => 'none'
      const listed = await resultOf<BackupListing[]>(three.addresses, 'snapshot', 'list')
      expect(listed.map(({ name, state }) => [name, state])).toEqual([
        ['tuesday', 'incomplete'],
        ['monday', 'complete'],
      ])
      await resultOf(three.addresses, 'snapshot', 'create', 'tuesday', '--resume')
      await resultOf(three.addresses, 'snapshot', 'delete', 'monday')
      const left = await resultOf<BackupListing[]>(three.addresses, 'snapshot', 'list')
      expect(left.map(({ name, state }) => [name, state])).toEqual([['tuesday', 'complete']])
    } finally {
      await proxy.close()
    }
  }, 180_000)

  it('end within a minute or two where the server hangs, and the cluster serves on', async () => {
    let hangs = false
    const proxy = new FaultyS3(server.endpoint, (method, _number, path) =>
      hangs && method === 'PUT' && path.includes('.data') ? 'hang' : 'none',
    )
    const endpoint = await proxy.listen()
    try {
      const place = storage(endpoint, 'hang/')
      await using nodes = await withEnvironment(VARIABLES, () =>
        startNodeProcesses(PORT + 20, 1, { ...FAST, ...place }),
      )
      await using cache = await connect({ nodes: nodes.addresses, timeout: 5_000 })
      await writeVaried(cache, 100)
      hangs = true
      const create = runCommand(nodes.addresses, 'snapshot', 'create', 'x')
      let longestMs = 0
      let isOver = false
      const load = (async () => {
        for (let i = 0; !isOver; i++) {
          const begunMs = performance.now()
          await cache.set(`busy:${i % 100}`, i)
          longestMs = Math.max(longestMs, performance.now() - begunMs)
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
      })()
      const begunMs = performance.now()
      const { code, stderr } = await create.ended
      isOver = true
      await load
      expect([code, stderr]).toEqual([2, expect.stringContaining('stands still for')])
      expect(performance.now() - begunMs).toBeLessThan(170_000)
      expect(longestMs).toBeLessThan(2000)
    } finally {
      await proxy.close()
    }
  }, 300_000)

  it('say that the credentials are wrong, or missing', async () => {
    const place = storage(server.endpoint, 'wrong/')
    const wrong = { ...VARIABLES, AWS_SECRET_ACCESS_KEY: 'not-the-secret' }
    await using nodes = await withEnvironment(wrong, () =>
      startNodeProcesses(PORT + 30, 1, { ...FAST, ...place }),
    )
    const { code, stderr } = await runCommand(nodes.addresses, 'snapshot', 'create', 'x').ended
    expect([code, stderr]).toEqual([3, expect.stringContaining('the credentials are refused')])
    expect(stderr).not.toContain('not-the-secret')
    const none = { AWS_EC2_METADATA_DISABLED: 'true', HOME: '/nowhere' }
    await using bare = await withEnvironment(none, () =>
      startNodeProcesses(PORT + 35, 1, { ...FAST, ...place }),
    )
    const missing = await runCommand(bare.addresses, 'snapshot', 'list').ended
    expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining('AWS_ACCESS_KEY_ID')])
  }, 60_000)
})
