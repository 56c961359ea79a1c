/** A snapshot store on a simulated disk, which should be one of its own: as its database is on a node. */

import type { SnapshotStore } from '../snapshot/snapshot-store.ts'
import type { SimulatedDisk } from './simulated-disk.ts'

/** Keys that one batch of a clearing removes. */
const CLEARED_PER_BATCH = 64

/** The store that the present process opens. A later process opens its own. */
export function simulatedSnapshotStore(disk: SimulatedDisk): SnapshotStore {
  const durable = disk.open()
  const keys = (from: string, to: string): string[] => disk.keys().filter((key) => key >= from && key < to)
  return {
    get: (key) => durable.get(key),
    firstKey: async (from, to) => {
      // Reading takes its time, as anything does on a disk.
      await durable.get(from)
      return keys(from, to)[0]
    },
    async *read(from, to) {
      for (const key of keys(from, to)) {
        const value = await durable.get(key)
        if (value !== undefined) yield [key, value] as const
      }
    },
    write: (changes, options) => durable.write(changes, options),
    checkRoom: async () => {},
    clear: async (from, to) => {
      const cleared = keys(from, to).map((key) => ({ key, value: undefined }))
      for (let at = 0; at < cleared.length; at += CLEARED_PER_BATCH)
        await durable.write(cleared.slice(at, at + CLEARED_PER_BATCH), { sync: false })
    },
    compact: async () => {},
    sizeBytes: async (from, to) => {
      let bytes = 0
      for (const key of keys(from, to)) bytes += key.length + ((await durable.get(key))?.length ?? 0)
      return bytes
    },
    close: () => durable.close(),
  }
}
