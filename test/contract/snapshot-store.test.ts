import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LevelSnapshotStore } from '../../src/adapters/level/level-snapshot-store.ts'
import { SeededRandom } from '../../src/kernel/random.ts'
import type { SnapshotStore } from '../../src/snapshot/snapshot-store.ts'
import { SimulatedDisk } from '../../src/testing/simulated-disk.ts'
import { SimulatedHost } from '../../src/testing/simulated-host.ts'
import { simulatedSnapshotStore } from '../../src/testing/simulated-snapshot-store.ts'
import { VirtualTime } from '../../src/testing/virtual-time.ts'
import { snapshotStoreContract } from './snapshot-store.contract.ts'

snapshotStoreContract('on a simulated disk', async () => {
  const time = new VirtualTime()
  const host = new SimulatedHost('a', time)
  const disk = new SimulatedDisk(host, new SeededRandom(1))
  return {
    store: simulatedSnapshotStore(disk),
    until: (promise) => time.until(promise),
    reopen: async () => {
      disk.crash(0)
      host.crash()
      return simulatedSnapshotStore(disk)
    },
    close: async () => {},
  }
})

snapshotStoreContract('of LevelDB', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ringcache-snapshots-'))
  let store: SnapshotStore = await LevelSnapshotStore.open(folder)
  return {
    store,
    until: (promise) => promise,
    reopen: async () => {
      await store.close()
      store = await LevelSnapshotStore.open(folder)
      return store
    },
    close: async () => {
      await store.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
})
