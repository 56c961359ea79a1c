import { describe, expect, it } from 'vitest'
import type { DurableStore } from '../../../src/kernel/durable-store.ts'
import { SeededRandom } from '../../../src/kernel/random.ts'
import { SimulatedDisk } from '../../../src/testing/simulated-disk.ts'
import { SimulatedHost } from '../../../src/testing/simulated-host.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'

function bench(seed = 1): { time: VirtualTime; host: SimulatedHost; disk: SimulatedDisk } {
  const time = new VirtualTime()
  const host = new SimulatedHost('a', time)
  return { time, host, disk: new SimulatedDisk(host, new SeededRandom(seed)) }
}

const bytes = (value: number): Uint8Array => Uint8Array.from([value])

function put(store: DurableStore, key: string, value: number, sync: boolean): Promise<void> {
  return store.write([{ key, value: bytes(value) }], { sync })
}

async function keysAfterCrash(seed: number): Promise<string> {
  const { time, host, disk } = bench(seed)
  const store = disk.open()
  await time.until(put(store, 'synced', 1, true))
  for (const key of ['a', 'b', 'c']) await time.until(put(store, key, 1, false))
  disk.crash()
  host.crash()
  const found = await time.until(disk.open().entries(''))
  return found.map(([key]) => key).join('')
}

describe('a simulated disk', () => {
  it('keeps what was synced, and of the rest what was written first', async () => {
    const outcomes = new Set<string>()
    for (let seed = 0; seed < 60; seed++) outcomes.add(await keysAfterCrash(seed))
    expect([...outcomes].sort()).toEqual(['abcsynced', 'absynced', 'asynced', 'synced'])
  })

  it('syncs what was written before, too', async () => {
    const { time, host, disk } = bench()
    const store = disk.open()
    await time.until(put(store, 'early', 1, false))
    await time.until(put(store, 'late', 2, true))
    disk.crash()
    host.crash()
    expect(await time.until(disk.open().get('early'))).toEqual(bytes(1))
  })

  it('never answers a process that crashed, and takes back nothing it had answered', async () => {
    const { time, host, disk } = bench()
    let answered = false
    void put(disk.open(), 'k', 1, true).then(() => {
      answered = true
    })
    disk.crash()
    host.crash()
    await time.advance(1000)
    expect(answered).toBe(false)
  })

  it('goes on while the process stands still, which hears of it later', async () => {
    const { time, host, disk } = bench()
    let answered = false
    void put(disk.open(), 'k', 1, true).then(() => {
      answered = true
    })
    host.pause()
    await time.advance(100)
    expect([answered, disk.syncs]).toEqual([false, 1])
    host.resume()
    await time.advance(1)
    expect(answered).toBe(true)
  })

  it('can be full, be exchanged for an empty one, and removes keys', async () => {
    const { time, disk } = bench()
    const store = disk.open()
    await time.until(put(store, 'k', 1, true))
    disk.full = true
    await expect(time.until(put(store, 'k', 2, true))).rejects.toThrow('disk is full')
    disk.full = false
    expect(await time.until(store.get('k'))).toEqual(bytes(1))
    await time.until(store.write([{ key: 'k', value: undefined }], { sync: true }))
    expect(await time.until(store.get('k'))).toBeUndefined()
    await time.until(put(store, 'k', 3, true))
    disk.wipe()
    expect(await time.until(disk.open().get('k'))).toBeUndefined()
  })
})
